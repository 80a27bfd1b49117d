"""The loss in chunks is the loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cai.model import decoder
from cai.model.base import IGNORE_INDEX
from cai.model.loss import next_token_loss
from cai.trainer.evaluation import mean_loss
from tests.trainer.making import RaggedDataset, make_trainer

N, C, V = 37, 12, 50
Parts = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows at once, so that a few dozen targets are several chunks, the last of them smaller."""
    monkeypatch.setattr("cai.model.loss.CHUNK_BYTES", 4 * V * 5)


def made_up(ignored: bool = True, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(N, C, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(V, C, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(V, (N,), generator=generator)
    if ignored:
        targets[3:9] = targets[-1] = IGNORE_INDEX
    return x, weight, targets


def loss_and_gradients(
    loss: Callable[..., Tensor],
    *more: Any,
    ignored: bool = True,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> Parts:
    """Of a loss of made-up activations and weights that is scaled, as that of a micro-batch is."""
    x, weight, targets = made_up(ignored, dtype)
    x.requires_grad_()
    weight.requires_grad_()
    out = loss(x, weight, targets, *more, **options)
    (out / 7).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert weight.grad is not None
    return {"loss": out.detach(), "x": x.grad, "weight": weight.grad}


def spelled_out(x: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
    logits = x @ weight.T
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    counted = targets != IGNORE_INDEX
    return -logits.log_softmax(-1)[counted].gather(1, targets[counted, None]).sum()


@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
@pytest.mark.parametrize("chunked", [True, False])
def test_it_is_the_summed_cross_entropy_of_what_counts_with_its_gradients(
    chunked: bool, softcap: float, ignored: bool
) -> None:
    expected = loss_and_gradients(spelled_out, softcap, ignored=ignored)
    found = loss_and_gradients(next_token_loss, softcap, ignored=ignored, chunked=chunked)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-12, atol=1e-13, msg=name)


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_without_gradients_it_is_the_same_number(softcap: float) -> None:
    with torch.no_grad():
        whole, chunked = (next_token_loss(*made_up(), softcap, chunked=chunked) for chunked in (False, True))
    torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_targets_that_are_all_ignored_give_no_loss_and_no_gradient(softcap: float) -> None:
    x, weight, targets = made_up()
    x.requires_grad_()
    loss = next_token_loss(x, weight, torch.full_like(targets, IGNORE_INDEX), softcap, chunked=True)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert x.grad is not None
    assert not x.grad.any()


def under_autocast(*args: Any, chunked: bool) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = next_token_loss(*args, chunked=chunked)
    assert loss.dtype == torch.float32  # a sum in bf16 would have three digits
    return loss


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_under_autocast_many_chunks_are_as_exact_as_the_whole(monkeypatch: pytest.MonkeyPatch, softcap: float) -> None:
    monkeypatch.setattr("cai.model.loss.CHUNK_BYTES", 1)  # each row by itself: what is added up in bf16 would show
    exact = loss_and_gradients(spelled_out, softcap)
    whole, chunks = (
        loss_and_gradients(under_autocast, softcap, chunked=chunked, dtype=torch.float32) for chunked in (False, True)
    )
    assert float(chunks["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-6)
    assert float(chunks["loss"]) == pytest.approx(float(exact["loss"]), rel=1e-3)
    for name in ("x", "weight"):
        errors = [float((found[name] - exact[name]).norm() / exact[name].norm()) for found in (whole, chunks)]
        assert errors[1] < min(0.01, 1.2 * errors[0]), (name, errors)


def kinds(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each loss that a model computes from now on is in chunks."""
    seen: list[bool] = []

    def noting(*args: Any, chunked: bool) -> Tensor:
        seen.append(chunked)
        return next_token_loss(*args, chunked=chunked)

    monkeypatch.setattr(decoder, "next_token_loss", noting)
    return seen


@pytest.mark.parametrize(
    ("word", "large", "expected"),
    [
        ("auto", 2 * 16 * 50, False),
        ("auto", 2 * 16 * 50 - 1, True),
        ("true", 10**9, True),
        ("false", 1, False),
    ],
)
def test_auto_is_by_the_number_of_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, large: int, expected: bool
) -> None:
    monkeypatch.setattr(decoder, "LARGE", large)
    trainer = make_trainer(tmp_path, "trainer.batch_size=2", f"trainer.chunked_loss={word}")
    seen = kinds(monkeypatch)
    trainer.updater.update(0)
    assert seen == [expected]


def logits_made(model: nn.Module, ids: Tensor, targets: Tensor) -> int:
    """The largest number of elements of a tensor that ends in the vocabulary, on the way forward."""
    largest = 0

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.ndim >= 2 and out.shape[-1] == V and func is not torch.ops.aten.t.default:
                largest = max(largest, out.numel())
            return out

    with Watch():  # type: ignore[no-untyped-call]
        model(ids, targets)
    return largest


def test_in_chunks_the_logits_of_a_batch_never_exist_at_once(tmp_path: Path) -> None:
    found = {}
    for word in ("false", "true"):
        model = make_trainer(tmp_path / word, "model=modern", f"trainer.chunked_loss={word}").model
        ids = torch.randint(V, (8, 16))
        found[word] = logits_made(model, ids, ids)
    assert found == {"false": 8 * 16 * V, "true": 5 * V}


@pytest.mark.parametrize("family", ["gpt2", "modern"])
def test_an_evaluation_in_chunks_finds_the_same_loss(tmp_path: Path, family: str) -> None:
    found = []
    for word in ("true", "false"):
        options = (f"model={family}", "device.precision=fp64", f"trainer.chunked_loss={word}")
        trainer = make_trainer(tmp_path / word, *options, dataset_class=RaggedDataset)
        found.append(mean_loss(trainer.updater, None))
    assert found[0] == pytest.approx(found[1], rel=1e-12)
