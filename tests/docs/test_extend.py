"""docs/extend.md: its components are written, trained with, written on from and repeated, by the commands of the page."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cai.cli import main
from cai.composition import compose
from tests.conftest import TINY, run_directories
from tests.docs.pages import DOCS, blocks, dead_links, walk

PAGE = DOCS / "extend.md"
SMALL = [word for word in TINY if word not in ("model.n_layer=1", "model.n_head=2")]
OWN = ("--config-dir", "my_conf", "trust=my_package")


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder in which every command of the page was typed, and what was seen of each."""
    path, folder = list(sys.path), tmp_path_factory.mktemp("extend")
    forget()
    yield folder, dict(walk(PAGE, folder, small=SMALL))
    sys.path[:] = path
    forget()


@pytest.fixture
def folder(walked: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(walked[0])
    return walked[0]


def seen(walked: tuple[Path, dict[str, str]], begin: str, word: str) -> str:
    (text,) = [text for line, text in walked[1].items() if line.startswith(begin) and word in line]
    return text


@pytest.mark.slow
def test_the_components_train_generate_and_reproduce(walked: tuple[Path, dict[str, str]]) -> None:
    facts = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in run_directories(walked[0])]
    assert {one["status"] for one in facts} == {"finished"}
    assert len(facts) == 3  # one, its repetition, and one that learns by heart
    assert seen(walked, "cai generate", "my_package").strip()
    repeated = seen(walked, "cai reproduce", "my_package")
    assert "losses are equal to the bit" in repeated
    assert "own components          equal" in repeated


def test_the_help_has_them(walked: tuple[Path, dict[str, str]]) -> None:
    text = seen(walked, "cai train", "--help")
    assert "model=gated\n\n  block_size: 960" in text
    assert "  n_hidden: 344         # width inside the feed-forward" in text
    assert "radam" in text


def test_the_reference_has_them(walked: tuple[Path, dict[str, str]]) -> None:
    page = (walked[0] / "my_docs" / "configuration.md").read_text(encoding="utf-8")
    for row in (
        "| `model.n_hidden` | integer > 0 | `344` |",
        "| `data.with_title` |",
        "| `optimizer=radam` | RAdam: Adam without",
    ):
        assert row in page


def test_mistakes_are_told_as_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(PAGE, "console")
    command, *shown = block.splitlines()[1:]
    assert main(command.split()[2:]) == 2
    assert capsys.readouterr().err.strip().splitlines() == shown


@pytest.mark.parametrize("name", ["gated", "bag"])
def test_the_models_keep_the_contract(name: str, folder: Path) -> None:
    """Logits see no later token; the loss is the sum over the targets that count."""
    from cai.model.base import IGNORE_INDEX

    config = compose([*OWN, f"model={name}", "model.block_size=16", "model.n_embd=16"])
    torch.manual_seed(0)
    model = config.model.build(vocab_size=11).eval()
    ids = torch.randint(11, (2, 8))
    logits, other = model(ids), model(torch.cat([ids[:, :5], (ids[:, 5:] + 1) % 11], dim=1))
    assert logits.shape == (2, 8, 11)
    torch.testing.assert_close(logits[:, :5], other[:, :5])
    assert not torch.allclose(logits[:, 5:], other[:, 5:])
    targets = torch.where(torch.arange(8) % 2 == 0, ids, IGNORE_INDEX)
    each = torch.nn.functional.cross_entropy(logits.mT, targets, ignore_index=IGNORE_INDEX, reduction="none")
    torch.testing.assert_close(model(ids, targets), each.sum())


def test_the_notes_are_read_as_the_page_says(folder: Path) -> None:
    config = compose([*OWN, "data=notes", "data.path=my_notes.txt"])
    documents = list(config.data.build().divide())
    assert len(documents) == 300
    first = documents[0][0]
    assert first.parts == ("메모 1\n2월 2일에는 마을에 손님이 1명 왔다.",)
    assert (first.key, first.where) == ("메모 1", "my_notes.txt, line 1")
    assert {side for _, side in documents} == {"train", "val"}


def test_every_link_leads_somewhere() -> None:
    assert len(re.findall(r"\]\(\.\./cai/", PAGE.read_text(encoding="utf-8"))) >= 9
    assert dead_links(PAGE) == []
