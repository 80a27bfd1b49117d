"""``cai inspect options``: every option there is, as a page and as JSON schemas for editors. (Command layer.)"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from cai.config.comments import Sheets, sheets_for
from cai.config.looking import InspectOptionsConfig
from cai.config.reference import reference
from cai.config.schema import schemas
from cai.errors import ConfigError
from cai.files import told, write_whole
from cai.inspect import read_options

PAGE = "configuration.md"
MARK = (
    "<!-- From here on written by `cai inspect options out=...`, out of config classes and the comments of the YAMLs. -->\n"
)
TITLE = "# Configuration\n\n"


def main(words: Sequence[str]) -> int:
    """Print the reference, or write it and the schemas to ``out``. Returns the exit code."""
    options, trusted = read_options(words, "inspect_options", InspectOptionsConfig)
    sheets = sheets_for(words)
    if options.out is None:
        print(reference(sheets, trusted), end="")
        return 0
    folder = Path(options.out).expanduser()
    for name, text in files(sheets, trusted, folder).items():
        with told(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, text)
        print(f"written   {folder / name}")
    return 0


def files(sheets: Sheets, trusted: Collection[str], folder: Path) -> dict[str, str]:
    """Name → text of what goes into ``folder``. What stands above the mark of a page that is there already stays.

    Raises ``ConfigError`` for a page that has no mark: it is another's.
    """
    page = folder / PAGE
    head, mark, _ = (page.read_text(encoding="utf-8") if page.is_file() else TITLE + MARK).partition(MARK)
    if not mark:
        raise ConfigError(
            f"out must be a folder without a {PAGE}, or with one of `cai inspect options`, but {page} has another origin."
            " Choose another folder."
        )
    found = {PAGE: head + mark + "\n" + reference(sheets, trusted)}
    for name, schema in schemas(sheets, trusted).items():
        found[f"schema/{name}"] = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    return found
