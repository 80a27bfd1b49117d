"""The options of ``cai tune``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from cai.config.base import Config
from cai.evaluation.scores import NAMES
from cai.spelling import did_you_mean

Direction = Literal["minimize", "maximize"]

LOWER_IS_BETTER: Final = frozenset({"answers/invented", "answers/false_refusals", "answers/repetition"})
ANSWERS: Final = (*(f"answers/{'found' if name == 'answers' else name}" for name in NAMES), "answers/repetition")
METRICS: Final[Mapping[str, Direction]] = {
    "val/bits_per_byte": "minimize",
    "val/loss": "minimize",
    **{tag: "minimize" if tag in LOWER_IS_BETTER else "maximize" for tag in ANSWERS},
}
"""What a run can be judged by: tags of ``metrics.jsonl``, and which way each gets better."""


def _metric(tag: str) -> str:
    if tag not in METRICS:
        close = did_you_mean(tag, METRICS)
        hint = f"Did you mean {close[0]}?" if close else f"Try tune.metric={next(iter(METRICS))}."
        raise ValueError(f"@ must be one of {', '.join(METRICS)}, but is {tag}. {hint}")
    return tag


def _study(name: str) -> str:
    if not re.fullmatch(r"\w[\w.+-]*", name) or len(name.encode()) > 100:
        raise ValueError(
            "@ must be the end of a folder's name (letters, digits, _ . + -, at most 100 bytes), but is"
            f" {name!r}. Try tune.study=learning_rate."
        )
    return name


class TuneOptions(Config):
    """What is searched, how long, and what counts as better."""

    space: Mapping[str, Any]
    trials: Annotated[int, Field(gt=0)]
    jobs: Annotated[int, Field(gt=0)]
    study: Annotated[str, AfterValidator(_study)] | None
    metric: Annotated[str, AfterValidator(_metric)]
    direction: Direction | None
    startup: Annotated[int, Field(ge=0)]
    prune: Literal["median"] | None
    prune_startup: Annotated[int, Field(ge=0)]

    @property
    def better(self) -> Direction:
        """Which way the metric gets better."""
        return self.direction or METRICS[self.metric]
