"""Shapes, parameters, operations and memory: against sums by hand, against what really happens, and by the command."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.cli import main
from cai.composition import compose
from cai.config.roots import TrainConfig
from cai.errors import ConfigError
from cai.inspection import memory as memory_module
from cai.inspection.flops import trace
from cai.inspection.ledger import Ledger, bytes_of
from cai.inspection.memory import Memory, cache_bytes, training_memory
from cai.inspection.shapes import HEAD, ModelParts, letters_of, sizes_of
from cai.inspection.stand_in import without_numbers
from cai.model.decoder import Decoder
from cai.model.layers import SwiGLU
from cai.plan import count_parameters, flops_per_token
from cai.trainer.update import Batch, Updater
from tests.conftest import TINY, train_tiny

V, LONG = 120, 136
"""A vocabulary, and a length at which attention is the fused kernel."""
FAMILIES = {"gpt2": "adamw", "llama": "lion", "qwen3": "sgd", "modern": "muon"}
"""Each with another optimizer."""
SMALL = ("model.n_layer=2", "model.n_embd=32", "model.block_size=136", "trainer.batch_size=4", "device.precision=fp32")


@pytest.fixture(scope="module")
def configs() -> dict[str, TrainConfig]:
    return {family: compose([*SMALL, f"model={family}", f"optimizer={other}"]) for family, other in FAMILIES.items()}


def changed(config: TrainConfig, **options: Any) -> TrainConfig:
    """``config`` with options of its components changed, as ``model__dropout=0.1``."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        part, _, option = name.partition("__")
        parts.setdefault(part, {})[option] = value
    return config.model_copy(update={part: getattr(config, part).model_copy(update=new) for part, new in parts.items()})


@pytest.mark.parametrize(("tied", "length"), [(True, 16), (False, LONG)])
@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_those_of_a_sum_by_hand(
    configs: dict[str, TrainConfig], family: str, tied: bool, length: int
) -> None:
    config = changed(configs[family], model__tie_weights=tied).model
    model = without_numbers(config, V)
    seen = trace(model, length)
    assert isinstance(model, Decoder)
    matrices = sum(m.weight.numel() for name, m in model.named_modules() if isinstance(m, nn.Linear) and name != "lm_head")
    width = config.n_head * getattr(config, "head_dim", config.n_embd // config.n_head)  # type: ignore[attr-defined]
    attention = 2 * 4 * length**2 * width
    assert seen.forward == 2 * length * (matrices + model.head_weight().numel()) + attention
    assert seen.backward == 2 * seen.forward
    # The formula that perf/mfu goes by takes vectors for matrices, and that is all.
    vectors = sum(p.numel() for p in model.parameters() if p.ndim < 2)
    formula = flops_per_token(model, config.model_copy(update={"block_size": length}))
    assert formula * length == seen.forward + seen.backward + 6 * vectors * length


def test_an_operation_more_is_counted(configs: dict[str, TrainConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_numbers(configs["llama"].model, V)
    before = trace(model, 16)
    forward = SwiGLU.forward
    monkeypatch.setattr(SwiGLU, "forward", lambda self, x: forward(self, x) + 0 * self.down_proj(self.gate_proj(x)))
    after = trace(model, 16)
    wide = model.layers[0].mlp.gate_proj.weight.numel()  # type: ignore[union-attr, index]
    assert after.forward - before.forward == 2 * 2 * 2 * 16 * wide


@pytest.mark.parametrize("family", ["gpt2", "modern"])
def test_every_depth_of_the_table_adds_up(configs: dict[str, TrainConfig], family: str) -> None:
    model = without_numbers(changed(configs[family], model__n_layer=3).model, V)
    seen = trace(model, 16)
    parts = ModelParts(model, seen)
    for depth in (1, 2, 3, 4, 9):
        lines = parts.lines(depth)
        for figure, whole in (("parameters", count_parameters(model)["total"]), ("flops", seen.forward)):
            assert sum(getattr(line, figure) for line in lines if line.depth == 1) == whole == getattr(parts.total(), figure)
    blocks = "h" if family == "gpt2" else "layers"
    by_name = {line.name: line for line in lines}
    first, others = by_name[f"{blocks}.0"], by_name[f"{blocks}.1 to 2"]
    assert others.note == f"each as {blocks}.0"
    assert others.parameters == 2 * first.parameters
    assert by_name[blocks].flops == first.flops + others.flops
    inside = [line for line in lines if line.depth == 3]
    assert sum(line.flops for line in inside) == first.flops
    assert sum(line.parameters for line in inside) == first.parameters
    table = "wte" if family == "gpt2" else "embed_tokens"
    assert by_name[HEAD].note == f"tied to {table}.weight, counted there"
    assert by_name[HEAD].parameters == 0
    assert by_name[HEAD].shape == (1, 16, V)


def test_a_head_of_its_own_has_its_line_and_an_unequal_block_too(configs: dict[str, TrainConfig]) -> None:
    model = without_numbers(changed(configs["gpt2"], model__tie_weights=False, model__n_layer=3).model, V)
    model.h[2].mlp.c_fc = nn.Linear(32, 128, bias=False, device="meta")  # type: ignore[union-attr, index]
    lines = {line.name: line for line in ModelParts(model, trace(model, 16)).lines(2)}
    assert lines["lm_head"].shape == (1, 16, V)
    assert lines["lm_head"].flops == 2 * 16 * V * 32
    assert {"h.0", "h.1", "h.2"} <= lines.keys()
    assert lines["h.1"].note == "as h.0"
    assert not lines["h.2"].note


class Own(nn.Module):
    """A model that is no decoder of CAI's: its head is the embedding under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V, 8)
        self.mix = nn.Linear(8, 8)
        self.out = nn.Linear(8, V, bias=False)
        self.out.weight = self.table.weight

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        logits: Tensor = self.out(self.mix(self.table(ids)))
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


class Looking(Own):
    """Its work depends on its numbers."""

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        assert float(self.mix.weight.sum()) < 1e6
        return super().forward(ids, targets)


def test_a_tied_weight_of_two_names_is_counted_once_and_said() -> None:
    model = Own()
    parts = ModelParts(model, trace(model, 4))
    lines = {line.name: line for line in parts.lines(3)}
    assert parts.total().parameters == V * 8 + 72
    assert lines["out"].parameters == 0
    assert lines["out"].note == "tied to table.weight, counted there"
    assert lines["out"].flops == 2 * 4 * 8 * V
    assert lines["out"].shape == (1, 4, V)
    assert cache_bytes(model) is None


def test_letters_stand_for_the_sizes_they_are(configs: dict[str, TrainConfig]) -> None:
    config = configs["llama"].model
    sizes = sizes_of(config, V)
    heads, width = config.n_head, config.head_dim  # type: ignore[attr-defined]
    assert letters_of((1, 16, 32), 16, sizes) == ["B", "T", "C"]
    assert letters_of((1, 16, V), 16, sizes) == ["B", "T", "V"]
    assert letters_of((1, heads, 16, width), 16, sizes) == ["B", "H", "T", "D"]
    assert letters_of((1, 16, 96), 16, {"C": (32, ""), "V": (V, "")}) == ["B", "T", "3C"]
    assert letters_of((16, 32), 16, sizes) == ["T", "C"]
    assert letters_of((1, 16, 7), 16, sizes) == ["B", "T", "7"]


def test_a_ledger_knows_what_is_there_at_once() -> None:
    known = torch.zeros(50)
    with Ledger([known], width=0) as ledger:
        a = torch.zeros(1000)
        b = a + 1
        c = b.view(10, 100)[2:]
        del a
        d = c * 2
        del b, c, d
        known.mul_(2)
        torch.zeros(100)
    assert ledger.highest == ledger.peak == 8000
    with Ledger([], width=10) as ledger:
        torch.zeros(3, 10)
    assert ledger.logits == 120


def test_gradients_are_counted_apart_from_activations() -> None:
    layers = nn.Sequential(*(nn.Linear(100, 100, bias=False) for _ in range(2)))
    x = torch.zeros(1, 100)
    ledger = Ledger([*layers.parameters(), x], width=0)
    ledger.watch(layers.parameters())
    with ledger:
        layers(x).sum().backward()
    assert ledger.gradients == 80_000
    assert 40_000 <= ledger.highest < 44_000  # that of one layer, before it is put aside
    assert 80_000 <= ledger.peak < 84_000


CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "plain": ("gpt2", 2, {}),
    "dropout": ("gpt2", 4, {"model__dropout": 0.1, "model__bias": True}),
    "apart": ("modern", 4, {"data__packing": "documents", "data__isolate": True, "trainer__ema_decay": 0.9}),
    "again": ("llama", 2, {"trainer__gradient_checkpointing": True, "trainer__chunked_loss": True}),
    "chunked": ("qwen3", 4, {"trainer__chunked_loss": True, "trainer__batch_size": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_counted_without_numbers_is_what_happens_with_them(configs: dict[str, TrainConfig], case: str) -> None:
    family, element_size, options = CASES[case]
    config = changed(configs[family], **options)
    model = config.model.build(vocab_size=V)
    sizes = {"vocab_size": V, "element_size": element_size, "micro_batch_size": 1}
    before = [p.clone() for p in model.parameters()]
    counted = training_memory(model, config, **sizes)
    real = memory_module._measured(model, config, **sizes, fake=False)
    assert counted.counted
    assert not real.counted
    assert vars(counted) | {"counted": False} == vars(real)
    assert counted == training_memory(without_numbers(config.model, V), config, **sizes)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert model.training


@pytest.mark.parametrize("case", ["dropout", "apart", "again"])
def test_a_step_of_the_trainer_takes_what_was_counted(configs: dict[str, TrainConfig], case: str) -> None:
    family, element_size, options = CASES[case]
    config = changed(configs[family], device__precision="fp32" if element_size == 4 else "bf16", **options)
    counted = training_memory(
        without_numbers(config.model, V), config, vocab_size=V, element_size=element_size, micro_batch_size=2
    )
    model, device = config.model.build(vocab_size=V), config.device.build()
    dataset: Any = SimpleNamespace(block_size=LONG, isolate=config.data.isolate)
    trainer = config.trainer.model_copy(update={"micro_batch_size": 2})
    updater = Updater(trainer, model, config.optimizer.build(model), lambda step: 1.0, dataset, device, seed=1)
    rows = tuple(torch.randint(V, (4, LONG)) for _ in range(3 if config.data.isolate else 2))
    ledger = Ledger([*model.parameters(), *model.buffers(), *rows], V)
    ledger.watch(model.parameters())
    with ledger:
        updater.accumulate(Batch(rows, 4 * LONG), step=0)
    assert ledger.gradients == counted.gradients
    assert counted.activations <= ledger.highest <= counted.activations + 1024


@pytest.mark.parametrize(
    ("family", "options", "times"),
    [("gpt2", {}, 2), ("llama", {}, 1), ("qwen3", {}, 1), ("qwen3", {"optimizer__momentum": 0.0}, 0), ("modern", {}, None)],
)
def test_the_optimizer_has_the_state_that_it_really_has(
    configs: dict[str, TrainConfig], family: str, options: dict[str, Any], times: int | None
) -> None:
    config = changed(configs[family], **options)
    model = config.model.build(vocab_size=V)
    found = training_memory(model, config, vocab_size=V, element_size=4, micro_batch_size=2)
    size = sum(p.numel() * 4 for p in model.parameters())
    assert found.gradients == size
    assert found.weights == size + sum(buffer.nbytes for buffer in model.buffers())
    assert found.average == 0
    real = config.optimizer.build(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    real.step()
    state = [t for values in real.state.values() for t in values.values() if isinstance(t, Tensor)]
    assert found.optimizer == sum(t.numel() * t.element_size() for t in state)
    if times is not None:
        assert times * size <= found.optimizer <= times * size + 4 * len(state)


def test_memory_grows_and_shrinks_with_what_should_do_so(configs: dict[str, TrainConfig]) -> None:
    config = changed(configs["gpt2"], model__n_layer=1)
    model = without_numbers(config.model, V)

    def of(config: TrainConfig = config, rows: int = 2, element_size: int = 4) -> Memory:
        return training_memory(model, config, vocab_size=V, element_size=element_size, micro_batch_size=rows)

    plain = of()
    whole = of(rows=4)
    assert 1.9 * plain.activations < whole.activations < 2.1 * plain.activations
    assert of(element_size=2).activations < 0.8 * plain.activations
    saving = of(changed(config, trainer__gradient_checkpointing=True, trainer__chunked_loss=True, trainer__ema_decay=0.9))
    assert saving.activations < 0.8 * plain.activations
    assert saving.logits < 3 * 2 * LONG * V * 4 <= plain.logits
    assert saving.average == plain.weights
    assert of(element_size=8).weights == 2 * plain.weights
    assert plain.total == plain.weights + plain.gradients + plain.optimizer + plain.activations
    assert plain.peak == plain.total  # gradients of the first half are there when the second half is at its highest
    assert whole.total - whole.gradients <= whole.peak < whole.total


def test_a_model_that_looks_at_its_numbers_is_run(configs: dict[str, TrainConfig]) -> None:
    model, config = Looking(), configs["gpt2"]
    found = training_memory(model, config, vocab_size=V, element_size=4, micro_batch_size=2)
    same = training_memory(Own(), config, vocab_size=V, element_size=4, micro_batch_size=2)
    assert not found.counted
    assert same.counted
    assert (found.weights, found.optimizer) == (same.weights, same.optimizer)
    assert same.activations <= found.activations < 1.1 * same.activations
    assert trace(model, 4).forward == trace(Own(), 4).forward


def test_keys_and_values_have_the_size_of_a_sum_by_hand(configs: dict[str, TrainConfig]) -> None:
    gpt2, llama_ = configs["gpt2"].model, configs["llama"].model
    assert cache_bytes(without_numbers(gpt2, V)) == 2 * 2 * 32 * LONG * 4
    narrow = llama_.n_kv_head * llama_.head_dim  # type: ignore[attr-defined]
    assert cache_bytes(without_numbers(llama_, V)) == 2 * 2 * narrow * LONG * 4


def test_a_model_that_no_memory_holds_takes_none(configs: dict[str, TrainConfig]) -> None:
    config = changed(configs["gpt2"], model__n_layer=1, model__n_embd=2**18, model__n_head=2**11)
    model = without_numbers(config.model, 10**6)
    found = training_memory(model, config, vocab_size=10**6, element_size=2, micro_batch_size=1)
    assert found.total > 2**43
    assert found.counted
    assert trace(model, 16).forward > 16 * 2 * 10**6 * 2**18


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("model")
    with contextlib.chdir(folder):
        yield folder / train_tiny("trainer.max_steps=2", "trainer.eval_every=0")


def test_the_command_shows_the_page_of_what_is_composed(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "model", *TINY, "length=8", "depth=4", "vocab_size=300"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"layers\.0\.attn\.q_proj +\(B, T, C\) +\(1, 8, 16\) +256 ", out)
    assert re.search(r"head +\(B, T, V\) +\(1, 8, 300\) +- .* tied to embed_tokens.weight, counted there", out)
    total = 300 * 16 + 3216
    assert re.search(rf"^total +{total:,} +100.0% ", out, re.M)
    assert f"{total:,} (3,216 without embeddings)" in out
    assert "C 16 (model.n_embd)" in out
    assert "T 8 tokens" in out
    assert "1 sequence" in out
    for name in ("KV cache", "weights", "gradients", "optimizer", "activations", "at the peak"):
        assert re.search(rf"^  {name} +\d", out, re.M), name
    assert "Muon" in out
    assert "4 of 4 sequences at once, fp32" in out
    assert not list(scratch.iterdir())


def test_the_command_says_what_it_assumes(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inspect", "model", *TINY, "depth=1", "trainer.ema_decay=0.9", "trainer.gradient_checkpointing=true"]
    assert main([*words, "device.type=cuda", "device.precision=auto"]) == 0
    out = capsys.readouterr().out
    assert "a vocabulary of 400: asked for" in out
    assert "trainer.ema_decay" in out
    assert "cuda is not there: counted as for it, in bf16" in out
    assert "bf16 with gradient_checkpointing" in out


def test_the_command_shows_a_run_s_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "model", f"run={run}", "depth=1"]) == 0
    out = capsys.readouterr().out
    vocabulary = int(re.search(r"V ([\d,]+) \(vocabulary\)", out)[1].replace(",", ""))  # type: ignore[index]
    assert f"{vocabulary * 16 + 3216:,} (3,216 without embeddings)" in out
    assert str(run) in out
    for name in ("tokenizer.json", "run.json"):
        (run / name).rename(run / f"{name}.aside")
    try:
        assert main(["inspect", "model", f"run={run}", "depth=1"]) == 0
        out = capsys.readouterr().out
        assert "V 400 (vocabulary)" in out
        assert "the run has no tokenizer yet" in out
    finally:
        for name in ("tokenizer.json", "run.json"):
            (run / f"{name}.aside").rename(run / name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["length=33"], "`length` must be at most model.block_size (32), but is 33. Try length=32."),
        (["run=somewhere", "model.n_layer=2"], "`model.n_layer=2` must be left out beside run="),
        (["dept=2"], "`dept` must be an option"),
        (["-m", "model.n_layer=1,2"], "`-m` must go with train"),
        (["device.precision=fp16"], "must be fp32, bf16 or fp64 on CPU"),
    ],
)
def test_what_cannot_be_shown_is_refused(scratch: Path, words: list[str], said: str) -> None:
    from cai.inspect_model import main as inspect_model

    with pytest.raises(ConfigError) as error:
        inspect_model([*words] if words[0].startswith("run=") else [*TINY, *words])
    assert said in str(error.value)


def test_bytes_of_what_is_shared_are_counted_once() -> None:
    tensor = torch.zeros(10)
    assert bytes_of([tensor, tensor[2:], torch.zeros(3)]) == 52
