"""Gradient checkpointing and the loss in chunks trade time for memory, and compute the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cai.dropout import Dropout
from cai.errors import ConfigError
from cai.model.decoder import Decoder
from cai.trainer.trainer import Trainer
from cai.trainer.update import Updater
from tests.trainer.making import RaggedDataset, losses, make_trainer

FAMILIES = {
    "gpt2": (),
    "llama": ("model=llama", "model.n_kv_head=1", "model.head_dim=8", "model.intermediate_size=24"),
    "qwen3": ("model=qwen3", "model.n_kv_head=1", "model.head_dim=8", "model.intermediate_size=24"),
    "modern": ("model=modern", "model.block_shift=1", "model.value_embeddings=true"),
}
SWITCHES = ("gradient_checkpointing", "chunked_loss")


def make(folder: Path, family: str, *overrides: str) -> Trainer:
    """Two layers, batches of four cut in two, ragged targets, weights that are far from zero."""
    sizes = ("model.n_layer=2", "trainer.batch_size=4", "trainer.micro_batch_size=2")
    trainer = make_trainer(folder, *FAMILIES[family], *sizes, *overrides, dataset_class=RaggedDataset)
    torch.manual_seed(1)
    for parameter in trainer.model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return trainer


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    assert found.keys() == dict(trainer.model.named_parameters()).keys()
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_no_bit_of_loss_and_gradient(tmp_path: Path, family: str, dropout: float) -> None:
    found = {}
    for switch in ("false", "true"):
        options = (f"trainer.gradient_checkpointing={switch}", f"model.dropout={dropout}")
        trainer = make(tmp_path / switch, family, *options)
        loss = trainer.updater.accumulate(trainer.updater.batch(3), step=3)
        found[switch] = {"loss": loss, **gradients(trainer)}
    for name, expected in found["false"].items():
        assert torch.equal(found["true"][name], expected), name


@pytest.mark.parametrize("family", FAMILIES)
def test_under_gradient_checkpointing_each_block_is_computed_twice_with_the_same_dropout(
    tmp_path: Path, family: str
) -> None:
    trainer = make(tmp_path, family, "trainer.gradient_checkpointing=true", "model.dropout=0.2")
    blocks = next(module for module in trainer.model.children() if isinstance(module, nn.ModuleList))
    of_attention = next(module for module in blocks[-1].modules() if isinstance(module, Dropout))
    seen: list[Tensor] = []
    of_attention.register_forward_hook(lambda module, args, out: seen.append(out.detach().clone()))
    trainer.updater.accumulate(trainer.updater.batch(3), step=3)
    assert len(seen) == 4  # two micro-batches, forward and again
    for first, again in ((0, 1), (2, 3)):
        assert torch.equal(seen[first], seen[again])
        assert (seen[first] == 0).any()
    assert not torch.equal(seen[0], seen[2])


@contextmanager
def kept_bytes(model: nn.Module) -> Iterator[list[int]]:
    """Sizes of what autograd keeps for the backward pass, each storage once, parameters left out."""
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: list[int] = []
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            sizes.append(storage.nbytes())
            alive.append(tensor)  # so that no later tensor takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_keeps_far_less_for_the_backward_pass(tmp_path: Path, family: str) -> None:
    kept = {}
    for switch in ("false", "true"):
        trainer = make(tmp_path / switch, family, "model.n_layer=6", f"trainer.gradient_checkpointing={switch}")
        batch = trainer.updater.batch(0)
        with kept_bytes(trainer.model) as sizes:
            trainer.model(*batch.inputs)
        kept[switch] = sum(sizes)
    assert kept["true"] < 0.3 * kept["false"], kept


@pytest.mark.parametrize("family", FAMILIES)
def test_in_evaluation_nothing_is_computed_twice(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path, family, "trainer.gradient_checkpointing=true")
    monkeypatch.setattr("cai.model.decoder.checkpoint", lambda *_, **__: pytest.fail("it was"))
    batch = trainer.updater.batch(0)
    assert trainer.model.eval()(*batch.inputs).isfinite()


@pytest.mark.parametrize("options", [(), ("model.dropout=0.2",)])
def test_with_both_a_run_in_double_precision_has_the_same_curve(tmp_path: Path, options: tuple[str, ...]) -> None:
    for switch in ("false", "true"):
        both = [f"trainer.{name}={switch}" for name in SWITCHES]
        make_trainer(tmp_path / switch, "device.precision=fp64", "trainer.log_every=1", *both, *options).fit()
    curves = [list(losses(tmp_path / switch).values()) for switch in ("true", "false")]
    assert len(curves[0]) == 20
    assert curves[0] == pytest.approx(curves[1], rel=1e-10)


class Own(nn.Module):
    """A model of one's own that is no ``Decoder``."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 50)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.wte(ids).flatten(0, 1), targets.flatten(), reduction="sum")


def updater_of(trainer: Trainer, model: nn.Module) -> Updater:
    optimizer = torch.optim.SGD(list(model.named_parameters()))
    parts = (trainer.updater.schedule, trainer.dataset, trainer.device)
    return Updater(trainer.config, model, optimizer, *parts, seed=1)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_model_that_cannot_is_refused_with_the_ways_out(tmp_path: Path, name: str) -> None:
    trainer = make_trainer(tmp_path, f"trainer.{name}=true")
    said = (
        rf"`trainer\.{name}` needs a model built on cai\.model\.decoder\.Decoder, but Own is none\."
        r" Leave it out, or lower trainer\.micro_batch_size"
    )
    with pytest.raises(ConfigError, match=said):
        updater_of(trainer, Own())


@pytest.mark.parametrize("word", ["auto", "false"])
def test_a_model_that_cannot_trains_as_long_as_it_is_not_asked_to(tmp_path: Path, word: str) -> None:
    updater = updater_of(make_trainer(tmp_path, f"trainer.chunked_loss={word}"), Own())
    assert updater.update(0).loss.isfinite()


@pytest.mark.parametrize(("word", "value"), [("auto", None), ("true", True), ("false", False)])
def test_the_switches_of_a_model_are_those_of_the_config(tmp_path: Path, word: str, value: bool | None) -> None:
    model = make_trainer(tmp_path, f"trainer.chunked_loss={word}").model
    assert isinstance(model, Decoder)
    assert model.chunked_loss is value
    assert model.gradient_checkpointing is False
