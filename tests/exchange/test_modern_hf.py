"""A folder of CAI's own architecture is the same model in transformers, by the code in it, in both major versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cai.exchange import huggingface
from cai.exchange.base import Source
from cai.exchange.layouts_modern import MODERN
from cai.export import export
from cai.model.modern import ModernConfig
from tests.exchange import modern_loading
from tests.exchange.making import make_source
from tests.exchange.version_4 import answers_of

VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "more": {"tie_weights": False, "value_embeddings": True, "activation": "gelu"},
    "less": {"qk_norm": False, "token_shift": 0},
    "far_shifts": {"token_shift": 1, "block_shift": 12, "logit_softcap": 0.0},
    "other_shape": {"n_layer": 1, "n_head": 1, "rope_base": 100.0, "block_shift": 0, "dropout": 0.3},
    "plain": {"tie_weights": False, "qk_norm": False, "token_shift": 0, "block_shift": 0, "logit_softcap": 0.0},
}
LENGTHS, COUNT = [13, 20], 100
CLOSE = 3e-5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Source:
    torch.set_num_threads(1)
    return make_source(tmp_path_factory.mktemp("run"), "model=modern")


def variant(made: Source, **options: object) -> Source:
    """With other options, every weight drawn anew."""
    model_config = ModernConfig.model_validate(made.trained.config.model.model_dump() | options)
    torch.manual_seed(1)
    model = model_config.build(made.trained.tokenizer.vocab_size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    config = made.trained.config.model_copy(update={"model": model_config})
    return replace(made, trained=replace(made.trained, config=config, model=model.eval()))


def write(source: Source, folder: Path) -> dict[str, Any]:
    """The folder, and what is asked about it."""
    folder.mkdir()
    source.trained.tokenizer.save(folder / "tokenizer.json")
    huggingface.write(source, folder, "float32")
    draw = torch.Generator().manual_seed(2)
    ids = torch.randint(2, source.trained.tokenizer.vocab_size, (2, 40), generator=draw)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=draw) < 0.3, -100)
    return {"folder": str(folder), "ids": ids.tolist(), "labels": labels.tolist(), "lengths": LENGTHS, "count": COUNT}


@torch.no_grad()
def differences(source: Source, question: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """What transformers computes otherwise than CAI."""
    model = source.trained.model
    ids, labels = torch.tensor(question["ids"]), torch.tensor(question["labels"])
    logits = model(ids)
    prompts = [row[:length] for row, length in zip(question["ids"], LENGTHS, strict=True)]
    right = [torch.tensor(row)[-n:].flip(0) for row, n in zip(answer["right"], LENGTHS, strict=True)]
    backwards = [model(ids[row : row + 1, :n].flip(1))[0] for row, n in enumerate(LENGTHS)]

    def goes_on(prompt: list[int], written: list[int]) -> bool:
        """Whether each token is CAI's most probable one after those before it."""
        best = model(torch.tensor([[*prompt, *written[:-1]]]))[0].argmax(dim=-1)
        return best[len(prompt) - 1 :].tolist() == written

    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    same = {
        "model": answer["model"] == MODERN.architecture,
        "loss": abs(answer["loss"] - float(loss)) < CLOSE,
        "right": all(near(one, other) for one, other in zip(right, backwards, strict=True)),
        **{name: near(torch.tensor(answer[name]), logits) for name in ("logits", "pieces", "again")},
        **{name: all(map(goes_on, prompts, answer[name])) for name in ("padded", "slow", "alone")},
        "changes": min(len(set(row)) for row in answer["padded"]) > 8,  # a continuation that hardly does shows nothing
    }
    return [name for name, is_same in same.items() if not is_same]


def near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() < CLOSE)


Look = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(params=["5", "4.57"])
def look(request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """What transformers of each version makes of folders."""
    if request.param == "4.57":
        place = request.getfixturevalue("transformers_4")
        return lambda questions: answers_of(place, modern_loading, questions, tmp_path / "modules")
    return in_version_5


def in_version_5(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import transformers

    assert transformers.__version__.startswith("5.")
    with huggingface.quiet(), huggingface.code_in_passing():
        return [modern_loading.look(**question) for question in questions]


@pytest.mark.slow
def test_every_option_is_the_same_in_transformers(look: Look, made: Source, tmp_path: Path) -> None:
    sources = [variant(made, **options) for options in VARIANTS.values()]
    questions = [write(source, tmp_path / name) for name, source in zip(VARIANTS, sources, strict=True)]
    for question in questions[2:]:
        question["count"] = 24  # two long continuations are enough
    answers = look(questions)
    for name, source, question, answer in zip(VARIANTS, sources, questions, answers, strict=True):
        assert differences(source, question, answer) == [], name
        page = json.loads((tmp_path / f"{name}_again" / "config.json").read_text())  # as transformers has saved it
        config = source.trained.config.model
        assert MODERN.config(page, block_size=None, dropout=config.dropout) == config


CHANGES = [
    ("eps=1e-6", "eps=1e-3", "logits"),
    ("F.relu(x).square()", "F.gelu(x)", "logits"),
    ("cap * torch.tanh(logits / cap)", "logits", "logits"),
    ("start=1)", "start=0)", "logits"),
    (" * real[:, :, None]", "", "padded"),
    ("real[:, None, None, :] | ", "(real[:, None, None, :] < 2) | ", "padded"),
    ("real[:, None, None, :] | ", "(real[:, None, None, :] < 2) | ", "slow"),
    ("places[start:, None]", "places[: end - start, None]", "pieces"),
    ("F.pad(past, (0, 0, back, 0))[:, start:end]", "F.pad(past[:, start:], (0, 0, back, 0))[:, : end - start]", "alone"),
    ("(logits, labels,", "(logits, labels.clamp(min=0),", "loss"),
]


@pytest.mark.parametrize(("written", "instead", "found"), CHANGES)
def test_other_code_is_caught(written: str, instead: str, found: str, made: Source, tmp_path: Path) -> None:
    source = variant(made)
    question = write(source, tmp_path / "folder") | {"count": 16}
    code = tmp_path / "folder" / "modeling_cai_modern.py"
    text = code.read_text()
    assert written in text
    code.write_text(text.replace(written, instead))
    (answer,) = in_version_5([question])
    assert found in differences(source, question, answer)


@pytest.fixture
def theirs(made: Source, tmp_path: Path) -> Iterator[tuple[Source, Any]]:
    """A model with dropout and everything else, as CAI and as transformers has it."""
    source = variant(made, value_embeddings=True, dropout=0.2)
    write(source, tmp_path / "folder")
    with huggingface.quiet(), huggingface.code_in_passing():
        from transformers import AutoModelForCausalLM

        yield source, AutoModelForCausalLM.from_pretrained(tmp_path / "folder", trust_remote_code=True)


def test_it_can_be_trained_on(theirs: tuple[Source, Any]) -> None:
    """Gradients are CAI's own, and the loss falls."""
    source, model = theirs
    ids = torch.randint(2, 300, (2, 30), generator=torch.Generator().manual_seed(3))
    ours = source.trained.model
    model.eval()(ids, labels=ids).loss.backward()
    (ours(ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        assert near(gradients[name], parameter.grad), name
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(ids).logits, model(ids).logits)  # dropout
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(model(ids, labels=ids).loss)
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.5


def test_a_fresh_one_is_drawn_as_cai_does(theirs: tuple[Source, Any]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(theirs[1].config, trust_remote_code=True)
    assert float(model.embed_tokens.weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(model.layers[0].mlp.down_proj.weight.std()) == pytest.approx(128**-0.5, rel=0.1)
    assert not any(share.any() for share in model.token_shift.mix)


def test_what_it_does_not_know_is_refused(theirs: tuple[Source, Any]) -> None:
    from transformers import StaticCache

    _, model = theirs
    ids = torch.zeros(1, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"at most 168 tokens long, but is 169"):
        model(torch.zeros(1, 169, dtype=torch.long))
    with pytest.raises(ValueError, match=r"must not be 0 between tokens"):
        model(ids, attention_mask=torch.tensor([[1, 0, 1, 1]]))
    with pytest.raises(ValueError, match=r"must have the shape \(1, 4\), but has \(1, 5\)"):
        model(ids, attention_mask=torch.ones(1, 5))
    with pytest.raises(ValueError, match=r"must be a DynamicCache, but is a StaticCache"):
        model(ids, cache=StaticCache(config=model.config, max_cache_len=8))
    with pytest.raises(ValueError, match=r"inputs_embeds is not supported"):
        model.generate(inputs_embeds=torch.zeros(1, 3, 32), max_new_tokens=1)
    with pytest.raises(ValueError, match=r"output_attentions is not supported"):
        model(ids, output_attentions=True)
    assert isinstance(model(ids, return_dict=False), tuple)
    assert model(ids, attention_mask=torch.zeros(1, 4)).logits.isfinite().all()


def test_the_export_is_compared_by_its_own_code(made: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.exchange.check.CONTINUATION", 8)
    found = export(made, huggingface, tmp_path, "float32")  # type: ignore[arg-type]
    assert found.by.startswith("transformers 5.")
    assert found.logits < CLOSE
    assert found.same == found.written == 4 * 8
