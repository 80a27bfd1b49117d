"""docs/configuration.md: what it says to type works, and its reference says what classes and YAMLs say today."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from cai.cli import main
from cai.config.catalogue import component_groups, fields_of, groups_of, in_words
from cai.config.comments import Sheets
from cai.config.reference import reference
from cai.config.roots import ROOTS
from cai.inspect_options import MARK, PAGE, files
from cai.resources import conf_folder
from tests.docs.pages import DOCS, blocks, dead_links, walk

RENEW = "renew it with: cai inspect options out=docs"
SCHEDULE = '''
from typing import Literal

from cai.schedule.base import ScheduleConfig


class StairsConfig(ScheduleConfig):
    """The rate falls in steps. Each as long."""

    kind: Literal["halves", "thirds"]

    def after_warmup(self, progress: float) -> float:
        return 0.5 ** int(4 * progress)
'''
STAIRS = """\
# Falls in steps.
_target_: my_stairs.stairs.StairsConfig
warmup_steps: 7   # own words
kind: halves      # what a step is | was
"""


@pytest.fixture(scope="module")
def sheets() -> Sheets:
    return Sheets([conf_folder()])


@pytest.fixture
def own(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the user's own, with a YAML."""
    for name, text in (("my_stairs/stairs.py", SCHEDULE), ("my_conf/schedule/stairs.yaml", STAIRS)):
        (scratch / name).parent.mkdir(parents=True)
        (scratch / name).write_text(text)
    monkeypatch.syspath_prepend(scratch)
    return scratch


def test_the_page_is_what_it_is_made_of(sheets: Sheets) -> None:
    assert (DOCS / PAGE).read_text(encoding="utf-8") == files(sheets, (), DOCS)[PAGE], RENEW


def test_every_option_has_a_line(sheets: Sheets) -> None:
    page = reference(sheets)
    rows = set(re.findall(r"^\| `([\w./]+)` \|", page, flags=re.M))
    for group in groups_of(sheets, ()):
        assert rows >= {f"{group.name}.{name}" for kind in group.kinds for name in fields_of(kind)}
        for choice in group.choices:
            assert f"| `{group.name}={choice.name}` |" in page
    groups = component_groups()
    own = {name for kind in ROOTS.values() for name in fields_of(kind) if name.partition(".")[0] not in groups}
    assert rows >= own
    lines = [line for line in page.splitlines() if re.match(r"\| `[\w.]+` \|", line)]
    assert [line for line in lines if line.endswith("|  |")] == []  # each says what it means


def test_a_changed_value_comment_or_choice_makes_it_stale(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(conf_folder(), conf)
    wsd = conf / "schedule" / "wsd.yaml"
    text = wsd.read_text(encoding="utf-8")
    wsd.write_text(text.replace("0.3 ", "0.4 ").replace("that decays", "that falls"), encoding="utf-8")
    (conf / "trainer" / "smoke.yaml").rename(conf / "trainer" / "quick.yaml")
    page = reference(Sheets([conf]))
    assert (
        "| `schedule.decay_ratio` | number in [0, 1] | `0.4` | share of the steps after warmup that falls, at the end |"
        in page
    )
    assert "`trainer=quick`" in page
    assert "`trainer=smoke`" not in page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "integer > 0"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number in [0, 1)"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}, "integer in [0, 2^63)"),
        ({"type": "number", "maximum": 0.5}, "number ≤ 0.5"),
        ({"anyOf": [{"type": "boolean"}, {"const": "auto"}]}, "`true`, `false` or `auto`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": "string", "pattern": "^(best|last)$"}, "text like `best|last`"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "list of 2: number"),
    ],
)
def test_types_in_words(schema: dict[str, object], words: str) -> None:
    assert in_words(schema) == words


def test_components_of_ones_own_are_there_if_trusted(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inspect", "options", "--config-dir", "my_conf"]
    assert main(words) == 2
    assert "add trust=my_stairs" in capsys.readouterr().err
    assert main([*words, "trust=my_stairs", "out=my_docs"]) == 0
    page = (own / "my_docs" / PAGE).read_text(encoding="utf-8")
    assert "### schedule: stairs\n\nThe rate falls in steps. `my_stairs.stairs.StairsConfig`" in page
    assert "| `schedule=stairs` | Falls in steps. |  |" in page
    assert "| `schedule.warmup_steps` | integer ≥ 0 | `7` | own words |" in page
    assert "| `schedule.kind` | `halves` or `thirds` | `halves` | what a step is \\| was |" in page
    schema = json.loads((own / "my_docs" / "schema" / "schedule.json").read_text(encoding="utf-8"))
    assert "StairsConfig" in schema["definitions"]


def test_what_stands_above_the_mark_stays_and_a_page_of_anothers_too(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = scratch / PAGE
    page.write_text(f"# Mine\n\nwords\n\n{MARK}old", encoding="utf-8")
    assert main(["inspect", "options", "out=."]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Mine\n\nwords\n\n{MARK}\nGroups: ")
    assert not text.endswith("old")
    page.write_text("# Another page\n", encoding="utf-8")
    assert main(["inspect", "options", "out=."]) == 2
    assert "has another origin" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "# Another page\n"


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    seen = dict(walk(DOCS / PAGE, tmp_path))
    assert len(seen) == 7
    assert "optimizer=muon\n\n  lr: " in seen["cai train --help"]
    assert "model=llama\n\n  block_size: " in seen["cai train model=llama --help"]
    page = (tmp_path / "my_docs" / PAGE).read_text(encoding="utf-8")
    assert "| `model=deep` | Narrow and deep, to try. | `n_layer=6` `n_embd=64` |" in page
    assert "### experiment=try_deep" in page


def test_the_mistakes_that_the_page_shows_are_told_so(capsys: pytest.CaptureFixture[str], scratch: Path) -> None:
    (block,) = [block for block in blocks(DOCS / PAGE, "console") if block.startswith("$ cai train model.n_layers")]
    command, *shown = block.splitlines()
    assert main(command.split()[2:]) == 2
    assert capsys.readouterr().err.strip().splitlines() == shown


def test_every_link_leads_somewhere() -> None:
    assert dead_links(DOCS / PAGE) == []


def test_the_settings_for_an_editor_name_every_schema(sheets: Sheets) -> None:
    (block,) = blocks(DOCS / PAGE, "json")
    places = json.loads(block)["yaml.schemas"]
    groups = [*component_groups(), "experiment"]
    assert sorted(places) == sorted(f"docs/schema/{group}.json" for group in groups)
    assert all((DOCS.parent / name).is_file() for name in places)
    assert all(f"*conf/{Path(name).stem}/" in glob for name, glob in places.items())
