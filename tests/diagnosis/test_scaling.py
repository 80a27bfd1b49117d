"""Estimates for GPUs that are not at hand: by hand for numbers that are easy, and what must hold for any model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import cai
from cai.config.roots import TrainConfig
from cai.device import process_peak_memory
from cai.diagnosis import gpus, scaling
from cai.diagnosis.gpus import KINDS, Kind
from cai.diagnosis.scaling import Workload
from cai.diagnosis.telling_gpus import DOES_NOT_FIT, NOT_WITH_FP16, lines_of_gpus, rows_of_assumptions
from cai.hardware import PEAK_TFLOPS
from cai.inspection.ledger import Ledger
from cai.inspection.memory import Memory
from cai.model.decoder import LARGE

WORDS = (
    *("device=cpu", "model=gpt2", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.block_size=16"),
    *("tokenizer=bpe", "tokenizer.vocab_size=300", "optimizer=adamw", "trainer=smoke", "trainer.batch_size=8"),
    *("trainer.micro_batch_size=auto", "trainer.max_steps=20"),
)
WHOLE = "trainer.chunked_loss=false"
"""Less to be measured."""
KIND = Kind("made up", flops=1000 / 0.35, memory=2100, bandwidth=500 / 0.7, link=10 / 0.7)
"""What is reached of it is round."""


def workload(*words: str) -> Workload:
    config: TrainConfig = cai.compose([*WORDS, *words])
    return Workload(config)


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> Workload:
    """8 sequences of 16 tokens a step, 100 operations a token; 200 of what is kept are copies of weights."""

    def memory(*_: Any, micro_batch_size: int, **__: Any) -> Memory:
        kept = 200 + 50 * micro_batch_size
        return Memory(400, 400, 800, average=0, activations=kept, logits=0, peak=0, written=800 + kept)

    monkeypatch.setattr(scaling, "training_memory", memory)
    work = workload()
    work.flops_per_token, work._gathered, work._weights = 100.0, 60, 300
    return work


def test_memory_of_one_gpu_is_added_up_and_fsdp_divides_weights_gradients_and_state(easy: Workload) -> None:
    # Weights 400, state 800, gradients 400; kept 200 + 50 for each sequence.
    assert easy.memory(2, 4, "ddp") == 400 + 800 + 400 + 400
    assert easy.memory(2, 1, "ddp") == 400 + 800 + 400 + 250
    # Halves of the three, 50 for each sequence, and 60 in the place of 200.
    assert easy.memory(2, 4, "fsdp") == 200 + 400 + 200 + 4 * 50 + 60
    # Two passes, whose gradients add up where they belong.
    assert easy.memory(2, 2, "fsdp") == 200 + 400 + 200 + 2 * 50 + 60
    assert easy._exchanged(2, 2, "fsdp") == 2 * easy._exchanged(2, 1, "fsdp")
    assert easy.memory(1, 8, "fsdp") == easy.memory(1, 8, "ddp")


def test_the_largest_micro_batch_that_fits_is_taken_and_its_step_timed(easy: Workload) -> None:
    ddp, fsdp = (easy.estimate(KIND, 2, strategy) for strategy in ("ddp", "fsdp"))
    assert ddp is not None
    assert fsdp is not None
    # 0.9 of 2,100 is 1,890: 1 of a process's 4 sequences.
    assert (ddp.fits, ddp.micro_batch_size, ddp.memory) == (True, 1, 1850)
    # Four passes: 1 x 16 x 100 operations at 1,000 a second, or 2 x (800 + 250) bytes at 500.
    update = (2 * (400 + 800) + 400) / 500
    exchange = 2 * 1 / 2 * 400 / 10
    assert ddp.exchange == pytest.approx(exchange)
    assert ddp.seconds == pytest.approx(4 * max(1.6, 4.2) + update + exchange)
    assert ddp.tokens_per_second == pytest.approx(8 * 16 / ddp.seconds)
    # All four at once: 6,400 operations, or 2 x (800 + 400) bytes; half the update; weights sent twice.
    assert (fsdp.fits, fsdp.micro_batch_size, fsdp.memory) == (True, 4, 1060)
    assert fsdp.exchange == pytest.approx(1 / 2 * (2 * 300 + 400) / 10)
    assert fsdp.seconds == pytest.approx(max(6.4, 4.8) + update / 2 + fsdp.exchange)


def test_what_does_not_fit_says_so_and_a_batch_that_cannot_be_shared_is_rounded_up(easy: Workload) -> None:
    none = easy.estimate(Kind("tiny", 1.0, 1000, 1.0, 1.0), 2, "ddp")
    assert none is not None
    assert (none.fits, none.micro_batch_size, none.memory) == (False, 1, 1850)
    assert (easy.sequences(3), easy.tokens(3)) == (9, 144)
    said = dict(rows_of_assumptions(easy, 3))
    assert "144 tokens (9 x 16); trainer.batch_size=8 cannot be shared by 3" in said["a step"]
    assert "cannot be shared" not in dict(rows_of_assumptions(easy, 4))["a step"]
    lines = lines_of_gpus(easy, 2, [Kind("tiny", 1.0, 1000, 1.0, 1.0), KINDS[0], KIND])
    assert lines[1].endswith(DOES_NOT_FIT)
    assert lines[4].endswith(f"fsdp      {NOT_WITH_FP16}".strip())
    assert lines[0].split()[-4:] == ["10^9", "tokens", "20", "steps"]
    # 80.8 s of a step: 128 tokens.
    assert lines[5].split()[:7] == ["made", "up", "ddp", "2", "KiB", "1", "2"]
    assert "fsdp" not in "".join(lines_of_gpus(easy, 1))


def test_operations_and_products_of_the_optimizer_bound_a_step_too(easy: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(*_: Any, micro_batch_size: int, **__: Any) -> Memory:
        kept = 50 * micro_batch_size
        plain = Memory(400, 400, 800, average=0, activations=kept, logits=0, peak=0, update=500)
        return replace(plain, operations=10**7, update_flops=10**5)

    monkeypatch.setattr(scaling, "training_memory", memory)
    easy._memories.clear()
    ddp = easy.estimate(Kind("large", 1000 / 0.35, 1e6, 500 / 0.7, 10 / 0.7), 1, "ddp")
    assert ddp is not None
    assert ddp.seconds == pytest.approx(10**7 * gpus.LAUNCH + 10**5 / 1000)
    assert easy.memory(1, 1, "ddp") == 400 + 800 + 400 + 500
    # An update of whole matrices is not divided, and what it needs is gathered.
    assert easy.memory(2, 4, "fsdp") == 200 + 400 + 200 + 500
    assert easy._exchanged(2, 1, "fsdp") == 1 / 2 * (2 * 300 + 400 + 400)


def test_a_longer_batch_than_was_measured_is_on_the_line_of_two_that_were(easy: Workload) -> None:
    assert easy._base * 16 * 300 > LARGE  # where the loss is computed in chunks
    assert easy._grown("activations", 10 * easy._base) == pytest.approx(200 + 50 * 10 * easy._base)


def test_the_line_meets_what_is_measured() -> None:
    work = workload("model.block_size=512", "tokenizer.vocab_size=40000")
    assert work._base == scaling.MANY
    rows = 5 * work._base
    assert work._grown("activations", rows) == pytest.approx(work._memory(rows).activations, rel=1e-3)
    assert work._grown("written", rows) == pytest.approx(work._memory(rows).written, rel=1e-3)


def test_the_weights_that_are_gathered_are_counted() -> None:
    """Three blocks of 6 numbers, and 20 outside: those, two blocks, and as many gradients as are made at once."""
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2) for _ in range(3)]), "head": nn.Linear(9, 2)})
    assert scaling._gathered(model) == 20 + 2 * 6 + 20
    assert scaling._gathered(nn.Linear(2, 2)) == 6 + 6


@pytest.fixture(scope="module", params=["adamw", "muon"])
def sizes(request: pytest.FixtureRequest) -> list[Workload]:
    """Of rising size, for one text."""
    shapes = ((1, 16), (2, 16), (2, 512))
    changed = [(f"model.n_layer={layers}", f"model.n_embd={width}") for layers, width in shapes]
    return [workload(f"optimizer={request.param}", "trainer.batch_size=16", WHOLE, *words) for words in changed]


def test_more_gpus_never_need_more_memory_under_fsdp(sizes: list[Workload]) -> None:
    for work in sizes:
        taken = [work.memory(processes, 1, "fsdp") for processes in (1, 2, 4, 8)]
        assert taken == sorted(taken, reverse=True)
        assert work.memory(8, 1, "fsdp") < work.memory(8, 1, "ddp")


def test_a_larger_model_is_never_faster_nor_smaller(sizes: list[Workload]) -> None:
    assert [work.parameters for work in sizes] == sorted(work.parameters for work in sizes)
    for kind in KINDS:
        for processes in (1, 2, 8):
            found = [work.estimate(kind, processes, "ddp") for work in sizes]
            speeds = [each.tokens_per_second for each in found if each is not None]
            assert speeds == sorted(speeds, reverse=True)
            assert len(speeds) == len(sizes)
            taken = [work.memory(processes, 1, "ddp") for work in sizes]
            assert taken == sorted(taken)


def test_a_model_larger_than_this_machine_is_estimated_in_no_memory() -> None:
    before = process_peak_memory()
    words = ("model=llama", "model.n_layer=2", "model.n_head=64", "model.n_kv_head=64", "model.n_embd=8192")
    work = workload(*words, "model.head_dim=128", "model.intermediate_size=22016", "model.block_size=64", WHOLE)
    assert work.memory(1, 1, "ddp") > 20e9
    assert {p.device.type for p in work._model.parameters()} == {"meta"}
    assert process_peak_memory() - before < 2**28


def test_recomputing_costs_a_third_and_a_micro_batch_that_was_asked_for_is_kept() -> None:
    plain, again = workload(), workload("trainer.gradient_checkpointing=true", "trainer.micro_batch_size=2")
    assert again.flops_per_token == pytest.approx(plain.flops_per_token * 4 / 3)
    found = again.estimate(KINDS[-1], 2, "ddp")
    assert found is not None
    assert found.micro_batch_size == 2


def test_the_table_of_gpus_is_that_of_their_peaks() -> None:
    assert [kind.flops / 1e12 for kind in KINDS] == [
        PEAK_TFLOPS[name] for name in ("T4", "L4", "RTX 3090", "RTX 4090", "A100", "A100", "H100")
    ]
    assert not torch.cuda.is_available()  # where this is tested


def test_what_operations_write_and_an_optimizer_of_matrices_multiplies_is_counted() -> None:
    x, w = torch.ones(3, 4), torch.ones(4, 5)
    with Ledger([x, w], width=0) as ledger:
        y = x @ w  # 3 x 5
        y.t().relu_()  # in place, and a view: nothing new
        y.exp().sum()  # 3 x 5, and one number
    assert (ledger.made, ledger.written) == (3, 4 * (15 + 15 + 1))
    # Hidden matrices of C x 3C, C, 4C and 4C: 4 C C B + 2 C C C operations in each of five steps (Newton-Schulz).
    width = 16
    work = workload("optimizer=muon", "optimizer.ns_steps=5", WHOLE)
    assert work._memory(4).update_flops == 5 * sum(4 * width**2 * side + 2 * width**3 for side in (48, 16, 64, 64))
    assert workload(WHOLE)._memory(4).update_flops == 0
