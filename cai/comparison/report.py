"""``report.html``: a comparison as one page that needs nothing else, neither a network nor a server."""

from __future__ import annotations

import html
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.comparison.payload import payload_of
from cai.errors import CaiError
from cai.files import write_whole
from cai.page import allowed, filled, json_in_html

if TYPE_CHECKING:
    from cai.comparison.table import Comparison

LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
SCRIPTS = ("state.js", "curves.js", "options.js", "lists.js", "report.js")
"""Ours, in the order in which they build on each other."""


class ReportUnavailable(CaiError):
    """The library that draws the charts is not installed."""

    exit_code = 2


def write_report(comparison: Comparison, path: Path) -> None:
    """The page about ``comparison`` as the file ``path``. Raises ``ReportUnavailable``, ``OutputError``."""
    library = library_scripts()
    write_whole(path, page_of(payload_of(comparison, path.absolute().parent), library))


def library_scripts() -> list[str]:
    """BokehJS out of Bokeh's wheel, which is found but not imported. Raises ``ReportUnavailable``."""
    package = find_spec("bokeh")
    places = [Path(place) / "server/static/js" for place in (package and package.submodule_search_locations) or ()]
    for place in places:
        if all((place / name).is_file() for name in LIBRARY):
            return [(place / name).read_text(encoding="utf-8") for name in LIBRARY]
    what = "is not installed" if package is None else f"has no {LIBRARY[0]} in {places[0] if places else package.origin}"
    raise ReportUnavailable(f'report.html needs Bokeh, which {what}. Try: pip install "cai[report]"')


def page_of(payload: dict[str, Any], library: list[str]) -> str:
    """The whole page. What comes from runs is in it as data alone: scripts are allowed by their hashes, others never run."""
    page = files("cai.comparison") / "page"
    scripts = [*library, "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)]
    scripts = [f"\n{_unclosed(script)}\n" for script in scripts]
    count = len(payload["runs"])
    parts = {
        "policy": " ".join(map(allowed, scripts)),
        "title": html.escape(f"{count} run{'s' * (count != 1)} compared"),
        "style": (page / "report.css").read_text(encoding="utf-8"),
        "payload": json_in_html(payload),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return filled((page / "report.html").read_text(encoding="utf-8"), parts)


def _unclosed(script: str) -> str:
    """A script in whose texts the end of its element does not occur: in JavaScript ``<\\/`` is ``</``."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
