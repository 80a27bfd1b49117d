"""docs/architecture.md: what it names is there, and no package is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from cai.resources import conf_folder
from tests.docs.pages import DOCS, dead_links

ROOT = DOCS.parent
PAGE = DOCS / "architecture.md"
PICTURE = DOCS / "architecture.svg"
TREES = ("cai/", "conf/", "tests/", "docs/", "benchmarks/", "experiments/", "hydra_plugins/")


def paths(text: str) -> list[str]:
    """What is written as code and lies in the project."""
    return [code for code in re.findall(r"`([^`\s<]+)`", text) if code.startswith(TREES)]


def missing(text: str) -> Iterator[str]:
    for path in paths(text):
        place = ROOT / path
        if not (place.is_dir() if path.endswith("/") else place.is_file()):
            yield path


def test_every_path_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(paths(text)) > 60
    assert list(missing(text)) == []
    assert list(missing("`cai/nothing.py` `cai/model/` `cai/train.py/` `cai/train.py`")) == [
        "cai/nothing.py",
        "cai/train.py/",
    ]
    assert dead_links(PAGE) == []


def test_every_package_has_its_place() -> None:
    named = set(paths(PAGE.read_text(encoding="utf-8")))
    packages = {f"cai/{init.parent.name}/" for init in (ROOT / "cai").glob("*/__init__.py")}
    assert packages - named == set()
    folders = {f"{path.name}/" for path in ROOT.iterdir() if (path / "__init__.py").is_file()} | {"conf/", "docs/"}
    assert folders - {"cai/"} - named == set()


def test_what_it_says_of_the_first_rule_is_so() -> None:
    assert "_target_: cai.model.gpt2.GPT2Config" in (conf_folder() / "model" / "gpt2_nano.yaml").read_text(encoding="utf-8")
    limits = (ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8")
    assert "MAX_FILE_LINES = 250\nMAX_FUNCTION_LINES = 60\n" in limits


def test_the_picture_names_what_is_there_in_light_and_dark() -> None:
    text = PICTURE.read_text(encoding="utf-8")
    texts = [element.text or "" for element in ElementTree.fromstring(text).iter() if element.tag.endswith("}text")]
    files = [one for one in texts if one.startswith("cai/")]
    assert len(files) >= 15
    assert [one for one in files if not (ROOT / one).exists()] == []
    assert "prefers-color-scheme: dark" in text
    used, light, dark = (set(re.findall(pattern, part)) for pattern, part in _colours(text))
    assert used == light == dark


def _colours(text: str) -> list[tuple[str, str]]:
    """Patterns and parts: colours that are used, set for light, and set for dark."""
    light, _, dark = text.partition("@media")
    return [(r"var\((--\w+)\)", text), (r"(--\w+):", light), (r"(--\w+):", dark.partition(".paper")[0])]


def test_the_page_is_reached_from_elsewhere() -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "README.md"]
    assert any("architecture.md" in page.read_text(encoding="utf-8") for page in pages if page != PAGE)
    assert Path(PICTURE).stat().st_size < 20_000
