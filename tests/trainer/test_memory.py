"""When memory runs out the batch is cut smaller, and the update stays the same."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cai.errors import TrainingError
from cai.trainer.checkpoint import load_checkpoint
from cai.trainer.memory import MicroBatch, is_out_of_memory
from cai.trainer.trainer import Trainer
from cai.trainer.update import Batch
from tests.trainer.making import RaggedDataset, draw_everywhere, losses, make_trainer, reached, take_up

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call"),
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.89 GB, other allocations: 2.1 GB, max allowed: 18.13 GB)"),
    RuntimeError("Invalid buffer size: 24.00 GB"),
]
BATCH = ("trainer.batch_size=8", "trainer.log_every=1", "trainer.max_steps=4")


def limit(model: nn.Module, sequences: int, error: Exception = OUT_OF_MEMORY[0], passes: int = 0) -> None:
    """Have ``model`` run out of memory for more ``sequences`` than that while training, after ``passes`` that fit."""
    seen = 0

    def refuse(module: nn.Module, args: object, out: Tensor) -> None:
        nonlocal seen
        if module.training and len(out) > sequences:
            seen += 1
            if seen > passes:
                raise error

    model.get_submodule("h.0").register_forward_hook(refuse)  # late: all random numbers of the pass are drawn


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:20])
def test_each_message_of_pytorch_is_recognised_and_the_next_size_tried(error: Exception) -> None:
    micro_batch = MicroBatch("auto", 8)
    sizes: list[int] = []

    def work() -> str:
        sizes.append(micro_batch.size)
        if len(sizes) < 3:
            raise error
        return "done"

    assert is_out_of_memory(error)
    assert micro_batch.fit(work) == "done"
    assert sizes == [8, 4, 2]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        ValueError("out of range"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_passes_through_at_once(error: Exception) -> None:
    micro_batch = MicroBatch("auto", 8)
    tries: list[int] = []

    def work() -> None:
        tries.append(micro_batch.size)
        raise error

    with pytest.raises(type(error)) as raised:
        micro_batch.fit(work)
    assert raised.value is error
    assert tries == [8]


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "expected"), [(8, [8, 4, 2, 1]), (12, [12, 6, 3, 1]), (7, [7, 1]), (9, [9, 3, 1])])
def test_the_sizes_tried_are_divisors_and_one_that_does_not_fit_is_explained(batch_size: int, expected: list[int]) -> None:
    micro_batch = MicroBatch("auto", batch_size)
    sizes: list[int] = []

    def work() -> None:
        sizes.append(micro_batch.size)
        raise OUT_OF_MEMORY[0]

    with pytest.raises(TrainingError, match=r"memory for 1 sequence at once.*CUDA out of memory.* Try a smaller") as raised:
        micro_batch.fit(work)
    assert sizes == expected
    assert "micro_batch_size=auto" not in str(raised.value)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_ends_a_try_it_has_drawn_nothing(error: type[BaseException]) -> None:
    def work() -> None:
        random.random(), np.random.random(), torch.rand(())
        raise error

    before = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    with pytest.raises(error):
        MicroBatch("auto", 4).fit(work)
    assert random.getstate() == before[0]
    assert repr(np.random.get_state(legacy=False)) == repr(before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_size_of_the_users_own_is_never_changed_but_explained(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *BATCH, "trainer.micro_batch_size=4")
    limit(trainer.model, 2)
    with pytest.raises(TrainingError, match=r"memory for 4 sequences.*CUDA out of memory.*trainer\.micro_batch_size=auto"):
        trainer.fit()
    assert trainer.updater.micro_batch.size == 4


@pytest.mark.slow
def test_each_try_draws_the_same_numbers() -> None:
    micro_batch = MicroBatch("auto", 4)
    drawn: list[tuple[float, ...]] = []

    def work() -> None:
        drawn.append((random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))))
        if micro_batch.size > 1:
            raise OUT_OF_MEMORY[0]

    random.gauss(0, 1)  # the second of its pair is kept for the next
    micro_batch.fit(work)
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_the_curve_is_that_of_the_size_that_was_found_to_the_bit(tmp_path: Path, size: int, draws: bool) -> None:
    options = (*BATCH, "model.dropout=0.2")
    trainers = []
    for name, own in (("found", "auto"), ("fixed", size)):
        chosen = f"trainer.micro_batch_size={own}"
        trainers.append(make_trainer(tmp_path / name, *options, chosen, dataset_class=RaggedDataset))
        if draws:
            draw_everywhere(trainers[-1].model)
        if own == "auto":
            limit(trainers[-1].model, size)
        trainers[-1].fit()
    assert losses(tmp_path / "found") == losses(tmp_path / "fixed") != {}
    assert torch.equal(*map(weights, trainers))
    assert [trainer.updater.micro_batch.size for trainer in trainers] == [size, size]


def shrink_before_step_one(trainer: Trainer) -> None:
    """Cut the batches of step 1 and later smaller, without an error."""
    original = trainer.updater.accumulate

    def accumulate(batch: Batch, step: int) -> Tensor:
        trainer.updater.micro_batch.size = 2 if step else 4
        return original(batch, step)

    trainer.updater.accumulate = accumulate  # type: ignore[method-assign]


@pytest.mark.parametrize("draws", [False, True])
def test_memory_that_runs_out_in_the_midst_of_a_batch_leaves_nothing_of_the_try(tmp_path: Path, draws: bool) -> None:
    trainers = []
    for name in ("found", "changed"):
        trainers.append(trainer := make_trainer(tmp_path / name, *BATCH, "model.dropout=0.2", dataset_class=RaggedDataset))
        trainer.updater.micro_batch.size = 4
        if draws:
            draw_everywhere(trainer.model)
        if name == "found":
            limit(trainer.model, 2, passes=3)  # two in step 0, one in step 1
        else:
            shrink_before_step_one(trainer)
        trainer.fit()
    assert losses(tmp_path / "found") == losses(tmp_path / "changed") != {}
    assert torch.equal(*map(weights, trainers))


@pytest.mark.slow
def test_the_curve_is_that_of_the_whole_batch_with_dropout_and_ragged_targets(tmp_path: Path) -> None:
    options = (*BATCH, "model.dropout=0.2", "device.precision=fp64", "trainer.max_steps=20")
    whole, cut = (make_trainer(tmp_path / name, *options, dataset_class=RaggedDataset) for name in ("whole", "cut"))
    limit(cut.model, 2, passes=6)
    whole.fit()
    cut.fit()
    assert cut.updater.micro_batch.size == 2
    assert list(losses(tmp_path / "cut").values()) == pytest.approx(list(losses(tmp_path / "whole").values()), rel=1e-9)
    torch.testing.assert_close(weights(cut), weights(whole), rtol=1e-7, atol=1e-9)


def test_what_was_found_is_logged_saved_and_where_a_resumed_run_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(tmp_path, *BATCH)
    limit(trainer.model, 2)
    trainer.fit()
    assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()] == [
        "out of memory with trainer.micro_batch_size=8; going on with 4",
        "out of memory with trainer.micro_batch_size=4; going on with 2",
    ]
    assert trainer.reached()["micro_batch_size"] == 2
    assert load_checkpoint(trainer.checkpoints.last).state["micro_batch_size"] == 2
    assert take_up(make_trainer(tmp_path, *BATCH), trainer.checkpoints.last).updater.micro_batch.size == 2
    fixed = take_up(make_trainer(tmp_path, *BATCH, "trainer.micro_batch_size=4"), trainer.checkpoints.last)
    assert fixed.updater.micro_batch.size == 4


@pytest.mark.slow
def test_an_evaluation_that_runs_out_of_memory_is_tried_again_smaller(tmp_path: Path) -> None:
    """First as many sequences as training takes (which is enough for ``plain``), then fewer for both."""
    plain = make_trainer(tmp_path / "plain", *BATCH, "trainer.micro_batch_size=2", "trainer.eval_every=2")
    trainer = make_trainer(tmp_path / "short", *BATCH, "trainer.eval_every=2")

    def refuse(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if not module.training and len(args[0]) > 2:
            raise OUT_OF_MEMORY[3]

    for one in (plain, trainer):
        one.model.register_forward_pre_hook(refuse)
        one.fit()
    for tag in ("val/loss", "train/loss"):
        assert losses(tmp_path / "short", tag) == losses(tmp_path / "plain", tag) != {}
    states = [reached(one.checkpoints.last) for one in (plain, trainer)]
    assert states[0] == states[1]


def test_an_error_without_text_is_recognised_too() -> None:
    micro_batch = MicroBatch("auto", 2)
    tries: list[int] = []

    def work() -> None:
        tries.append(micro_batch.size)
        if len(tries) < 2:
            raise torch.OutOfMemoryError

    micro_batch.fit(work)
    assert tries == [2, 1]
