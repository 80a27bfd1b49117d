"""The jobs of a sweep, as ``sweep.json`` lists them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cai.columns import one_line
from cai.comparison.options import Scalar, differing_options, flatten_tree
from cai.config.saved import upgrade
from cai.errors import CaiError
from cai.runs import SWEEP
from cai.sweeps import Sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ListedJobs:
    """What is known of the jobs before any begins."""

    options: Mapping[str, Mapping[str, Scalar]]
    """Folder → options, in the order of the jobs."""
    swept: tuple[str, ...]
    """The dotted paths in which they differ."""


def listed_jobs(directory: Path) -> ListedJobs | None:
    """The jobs of the sweep in ``directory``; ``None``, with a warning, if its list cannot be read."""
    path = directory / SWEEP
    try:
        sweep = Sweep.load(directory)
        options = {job.folder: flatten_tree(upgrade(dict(job.config), sweep.format, path)) for job in sweep.jobs}
    except (CaiError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, CaiError) else f"{path} must list jobs of CAI, but cannot be read ({error!r})."
        log.warning("warning: %s What it lists and has not begun is left out.", one_line(why))
        return None
    return ListedJobs(options, tuple(differing_options(list(options.values()))))
