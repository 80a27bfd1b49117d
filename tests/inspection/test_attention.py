"""Figures of heads: of patterns that are known, of a model that has one, and of a run by the command."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.cli import main
from cai.comparison import plots
from cai.errors import RunError
from cai.inspection import attention
from cai.inspection.attention import (
    attention_of,
    chance,
    chance_of,
    heads_of,
    induction_of,
    names_of,
    refuse_without_attention,
    span_between,
)
from cai.inspection.pieces import labels, token_texts
from tests.conftest import TINY, train_tiny

T = 12


def looking_at(place: Any) -> Tensor:
    """Weights ``(1, T, T)`` where each token looks at one place, which ``place`` tells of it."""
    weights = torch.zeros(1, T, T)
    for token in range(T):
        weights[0, token, place(token)] = 1
    return weights


UNIFORM = torch.ones(1, T, T).tril() / torch.arange(1, T + 1)[:, None]


def test_figures_of_patterns_that_are_known() -> None:
    before, itself = looking_at(lambda token: max(0, token - 1)), looking_at(lambda token: token)
    first, uniform = looking_at(lambda token: 0), UNIFORM
    heads = heads_of([torch.cat([before, itself]), torch.cat([first, uniform])], None)
    assert [(head.layer, head.head) for head in heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [head.previous for head in heads[:3]] == pytest.approx([1, 0, 1 / (T - 1)])  # the second token's first is before
    assert [head.itself for head in heads[:3]] == [0, 1, 0]
    assert [head.first for head in heads[:3]] == pytest.approx([1 / (T - 1), 0, 1])
    assert [head.entropy for head in heads[:3]] == [0, 0, 0]
    alike = heads[3]
    assert alike.entropy == pytest.approx(sum(math.log2(seen) for seen in range(2, T + 1)) / (T - 1))
    assert alike.relative == pytest.approx(1)
    assert (alike.previous, alike.itself, alike.first) == pytest.approx((chance(T),) * 3)
    assert [names_of(head, T) for head in heads] == [["token before"], [], ["first token"], []]
    assert {(head.document, head.induction) for head in heads} == {(None, None)}


def test_of_two_tokens_no_head_is_named_after_what_it_cannot_help() -> None:
    (head,) = heads_of([UNIFORM[:, :2, :2]], None)
    assert head.first == 0.5
    assert names_of(head, 2) == []


def test_the_share_of_the_document_is_that_of_the_tokens_behind_it() -> None:
    document = range(3, 7)
    inside, ahead = looking_at(lambda token: min(token, 6)), looking_at(lambda token: min(token, 2))
    heads = heads_of([torch.cat([inside, ahead, UNIFORM])], None, document)
    assert [head.document for head in heads] == pytest.approx([1, 0, chance_of(document, T)])
    assert chance_of(document, T) == pytest.approx(sum(4 / seen for seen in range(8, T + 1)) / (T - 7))


@pytest.mark.parametrize(
    ("ids", "span"),
    [
        ([1, 8, 2, 3, 9, 4], range(2, 4)),
        ([2, 3, 9, 4], range(2)),  # its beginning was cut off
        ([1, 8, 2, 3], None),
        ([1, 8, 9, 4], None),
        ([8, 2, 3, 9], None),  # nothing looks at it
    ],
)
def test_where_the_document_is(ids: list[int], span: range | None) -> None:
    assert span_between(ids, 8, 9) == span


class Finder(nn.Module):
    """Its one head looks ``offset`` behind where a token stood before; at itself if it is new."""

    block_size = 80

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked: list[Tensor] = []

    def hidden(self, ids: Tensor, context: object = None) -> Tensor:
        raise NotImplementedError

    def attention(self, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        self.asked.append(ids)
        weights = torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
        for row, tokens in enumerate(ids.tolist()):
            for place, token in enumerate(tokens):
                earlier = tokens.index(token)
                weights[row, 0, place, min(place, earlier + self.offset) if earlier < place else place] = 1
        return weights, [weights]


@pytest.mark.parametrize(("offset", "score"), [(1, 1), (0, 0), (2, 0)])
def test_the_induction_score_is_that_of_the_token_that_followed(offset: int, score: float) -> None:
    """To look at the same token, or one too far, is none."""
    model = Finder(offset)
    found = induction_of(model, range(100, 160), seed=1)
    assert found is not None
    assert float(found.scores[0]) == score
    (ids,) = model.asked
    assert found.length == 25
    assert ids.shape == (attention.SEQUENCES, 50)
    assert ids[:, :25].equal(ids[:, 25:])
    assert all(len(set(row)) == 25 and set(row) <= set(range(100, 160)) for row in ids[:, :25].tolist())


def test_random_tokens_are_drawn_by_the_seed_alone() -> None:
    model = Finder(1)
    for seed in (1, 1, 2):
        torch.rand(3)
        induction_of(model, range(60), seed)
    first, same, other = model.asked
    assert first.equal(same)
    assert not first.equal(other)


def test_a_model_that_sees_little_has_a_shorter_sequence_or_no_score() -> None:
    model = Finder(1)
    model.block_size = 9
    found = induction_of(model, range(60), 1)
    assert found is not None
    assert (found.length, float(found.scores[0])) == (4, 1)
    assert found.chance == pytest.approx(sum(1 / seen for seen in (5, 6, 7, 8)) / 4)
    model.block_size = 3
    assert induction_of(model, range(60), 1) is None


def test_a_model_without_attention_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(RunError, match=r"but Linear does not\. Build it on cai\.model\.decoder\.Decoder"):
        refuse_without_attention(nn.Linear(2, 2))

    class Mute(Finder):
        def attention(self, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
            return ids, []

    with pytest.raises(RunError, match="but Mute tells none"):
        attention_of(Mute(1), [1, 2, 3])


def test_pieces_of_a_syllable_are_shown_with_it() -> None:
    data = "병원\n 7".encode()
    pieces = [data[:1], data[1:3], data[3:4], data[4:8], b"7"]
    assert token_texts(pieces) == ["병₁", "병₂", "원₁", "원₂↵\n ", "7"]
    assert labels(token_texts(pieces)) == ["병₁", "병₂", "원₁", "원₂↵␣", "7"]
    assert token_texts([b"\xea\xb0", b"[DOC]", b"\x1b"]) == ["\\xea\\xb0", "[DOC]", "\\x1b"]
    assert token_texts([data[:1], data[1:3]])[0] != token_texts([data[:1]])[0], "what follows tells"
    assert token_texts([]) == []


# ---- the command

ASKED = ("question=가온솔병원 전화번호", "doc=전화 02-1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one tiny run is, of a window that the question does not fill."""
    folder = tmp_path_factory.mktemp("attention")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_tiny("model.block_size=96", "model.n_layer=2", "trainer.max_steps=2", tiny=TINY)
    return folder


def payload(path: Path) -> dict[str, Any]:
    found = re.search(r'id="payload">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_a_run_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert main(["inspect", "attention", "run=last", *ASKED, "max_new_tokens=5", "device.threads=1"]) == 0
    said = capsys.readouterr()
    (made,) = folder.glob("outputs/run/*/attention/*")
    assert sorted(path.name for path in made.iterdir()) == ["attention.html", "attention.png"]
    assert (made / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert str(made.relative_to(folder) / "attention.html") in said.out
    data = payload(made / "attention.html")
    assert data["prompt"] + 5 == len(data["texts"])
    rows = {line.split()[0]: line.split() for line in said.out.splitlines() if re.match(r" *\d\.\d ", line)}
    assert list(rows) == ["0.0", "0.1", "1.0", "1.1"]
    start, stop = data["document"]
    assert re.sub("(.)₁\\1₂", r"\1", "".join(data["texts"][start:stop])) == "↵\n전화 02-1↵\n"
    weights = unpacked(data)
    for number, row in enumerate(rows.values()):
        assert row[6] == f"{data['heads'][number]['document']:.1%}"
        exact = weights[number][stop:, start:stop].sum(-1).mean()
        assert data["heads"][number]["document"] == pytest.approx(exact, abs=0.01)
    assert "No head looks like an induction head" in said.out
    assert "the most is" in said.out.replace("\n", " ")


def whole(texts: list[str]) -> str:
    """The text of tokens, without what is no character."""
    joined = re.sub("(.)₁\\1₂(?:\\1₃)?", r"\1", "".join(texts)).replace("↵", "")
    return re.sub(r"\\x[0-9a-f]{2}", "", joined)


def unpacked(data: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    """The weights of each head, as the page has them."""
    size = len(data["texts"])
    roots = np.frombuffer(zlib.decompress(base64.b64decode(data["weights"])), np.uint8).reshape(len(data["heads"]), -1)
    found = []
    for head in roots:
        weights = np.zeros((size, size))
        weights[np.tril_indices(size)] = (head / data["steps"]) ** 2
        found.append(weights)
    return found


def test_what_the_model_wrote_is_what_it_would_generate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    assert main(["inspect", "attention", "run=last", "prompt=전화", "max_new_tokens=8", "device.threads=1", "out=out"]) == 0
    said = capsys.readouterr()
    assert 'no picture: PNG and SVG need matplotlib, which is not installed. Try: pip install "cai[plot]"' in said.err
    assert [path.name for path in Path("out").iterdir()] == ["attention.html"]
    texts = payload(Path("out/attention.html"))["texts"]
    greedy = ["generation=greedy", "generation.max_new_tokens=8", "device.threads=1"]
    assert main(["generate", "run=last", "prompt=전화", *greedy]) == 0
    assert whole(texts) == capsys.readouterr().out.removesuffix("\n").replace("\ufffd", "")


def test_a_prompt_that_is_too_long_is_cut_as_for_generation(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    words = ["run=last", "prompt=" + "병원 전화 " * 60, "max_new_tokens=1000", "device.threads=1", "out=long"]
    assert main(["inspect", "attention", *words]) == 0
    assert "the model sees 96 (model.block_size): all but its last 48 are cut off" in capsys.readouterr().err
    data = payload(Path("long/attention.html"))
    assert data["prompt"] == 48
    assert len(data["texts"]) <= 96


def test_mistakes_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert main(["inspect", "attention", "run=last"]) == 2
    assert 'exactly one of question and prompt must be given, but there is neither. Try: prompt="..."' in (
        capsys.readouterr().err
    )
    assert main(["inspect", "attention", "run=last", "prompt=7", "max_new_tokens=0", "device.threads=1"]) == 2
    assert "must have at least 2 tokens" in capsys.readouterr().err
    Path("file").write_text("")
    assert main(["inspect", "attention", "run=last", "prompt=a", "device.threads=1", "out=file/folder"]) == 1
    assert "out must be a folder that can be written to" in capsys.readouterr().err
    monkeypatch.setattr("cai.model.decoder.Decoder.attention", None)
    assert main(["inspect", "attention", "run=last", "prompt=a", "device.threads=1"]) == 2
    assert "run must be of a model that tells its attention, but Modern does not" in capsys.readouterr().err
