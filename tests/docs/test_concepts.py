"""docs/concepts.md: its lines of Python print what the page shows, its commands run, and each idea names its file."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, dead_links, headings, walk

PAGE = DOCS / "concepts.md"
NUMBER = r"-?\d+(?:\.\d*)?(?:e-?\d+)?"


def pairs() -> list[tuple[str, str]]:
    """Each block of Python with the block of text behind it."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", text, flags=re.M | re.S)


def differs(shown: str, printed: str) -> bool:
    """Whether words differ, or numbers with a point by more than those of processors do, which sum in different orders."""
    if re.sub(NUMBER, "#", shown).split() != re.sub(NUMBER, "#", printed).split():
        return True
    both = zip(re.findall(NUMBER, shown), re.findall(NUMBER, printed), strict=True)
    return any(one != other and not _near(one, other) for one, other in both)


def _near(one: str, other: str) -> bool:
    return "." in one and abs(float(one) - float(other)) <= 0.2 * abs(float(one)) + 0.1


def test_the_lines_print_what_the_page_shows() -> None:
    names: dict[str, object] = {}
    assert len(pairs()) == 9
    for code, shown in pairs():
        seen = io.StringIO()
        with redirect_stdout(seen):
            exec(compile(code, str(PAGE), "exec"), names)
        assert not differs(shown, seen.getvalue()), f"{code}\nprints\n{seen.getvalue()}"


@pytest.mark.parametrize(("printed", "wrong"), [("a 1.00 (3)", False), ("a 1.2 (3)", False), ("a 1.4 (3)", True),
                                                ("a 1.00 (4)", True), ("b 1.00 (3)", True)])  # fmt: skip
def test_a_difference_is_seen(printed: str, wrong: bool) -> None:
    assert differs("a 1.00 (3)", printed) == wrong


def test_overfitting_is_to_be_seen() -> None:
    """What the numbers of the page are there to show, whatever they are."""
    (shown,) = [shown for _, shown in pairs() if "val" in shown]
    train, val = ([float(number) for number in re.findall(rf"{side} ({NUMBER})", shown)] for side in ("train", "val"))
    assert train == sorted(train, reverse=True)
    assert min(val) < val[0]
    assert val[-1] > min(val) * 1.5


def test_there_are_nine_ideas_each_with_its_file() -> None:
    ideas = [heading for depth, heading in headings(PAGE) if depth == 2 and heading[0].isdigit()]
    assert [idea.partition(".")[0] for idea in ideas] == [str(number) for number in range(1, 10)]
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:10]:
        assert re.search(r"→ .*\]\(\.\./cai/", section), section.partition("\n")[0]
        assert "```python" in section
    assert dead_links(PAGE) == []


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path) -> None:
    seen = {line.split()[1]: text for line, text in walk(PAGE, tmp_path)}
    assert len(seen) == 4
    assert "bits per byte" in seen["evaluate"]
