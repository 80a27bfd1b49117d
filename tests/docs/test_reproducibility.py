"""docs/reproducibility.md and its Korean twin: their commands run, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cai.composition import compose
from tests.docs.pages import DOCS, commands, dead_links, walk

PAGE, TWIN = DOCS / "reproducibility.md", DOCS / "ko" / "reproducibility.md"
ROOT = DOCS.parent


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each command of the page, and what was seen of it."""
    return dict(walk(PAGE, tmp_path_factory.mktemp("reproducibility")))


def test_the_commands_say_what_the_page_says(seen: dict[str, str]) -> None:
    assert "losses are equal to the bit" in seen["cai reproduce last"]
    assert "finished" in seen["cai resume last"]
    assert "computed anew from here on" in " ".join(seen["cai resume last trainer.max_steps=2000"].split())
    checked = seen["cai reproduce last reproduce.check_only=true"]
    for fact in ("config.yaml", "tokenizer.json", "token ids", "commit", "torch"):
        assert re.search(rf"^  {fact} +equal ", checked, flags=re.M), fact


def test_both_languages_say_the_same() -> None:
    assert commands(PAGE) == commands(TWIN)
    pages = [page.read_text(encoding="utf-8") for page in (PAGE, TWIN)]
    for mark in ("## ", "| ", "```"):
        counts = [sum(line.startswith(mark) for line in text.splitlines()) for text in pages]
        assert abs(counts[0] - counts[1]) <= 8, mark
    seeds = [[set(re.findall(r"`[^`]+`", cell)) for cell in _seeds(text)] for text in pages]
    assert len(seeds[0]) >= 5
    assert seeds[0] == seeds[1]


def _seeds(text: str) -> list[str]:
    """The first column of the table of seeds."""
    section = next(section for section in text.split("\n## ") if section.startswith(("Seeds", "시드")))
    return re.findall(r"^\| (.*?) \|", section, flags=re.M)


@pytest.mark.parametrize("page", [PAGE, TWIN], ids=["en", "ko"])
def test_every_option_and_link_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    config = compose(["data=text", "data.path=x"])
    for group, option in re.findall(r"`(trainer|device|data|tokenizer|model)\.(\w+)", text):
        if (group, option) != ("data", "seed"):  # of the embedded corpus
            assert option in type(getattr(config, group)).model_fields, f"{group}.{option}"
    assert dead_links(page) == []


def test_nothing_leads_to_the_page_of_old() -> None:
    old = "exact" + ".md"
    texts = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "cai").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    assert [str(path) for path in texts if old in path.read_text(encoding="utf-8") and path.name != "CHANGELOG.md"] == []
    for readme, page in (("README.md", "docs/reproducibility.md"), ("README.ko.md", "docs/ko/reproducibility.md")):
        assert f"]({page})" in (ROOT / readme).read_text(encoding="utf-8")
