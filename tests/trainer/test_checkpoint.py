"""Checkpoints are whole or absent, and are data."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cai.errors import OutputError, RunError
from cai.trainer.checkpoint import FORMAT, Checkpoint, DamagedCheckpoint, load_checkpoint, save_checkpoint
from cai.trainer.state import load_weights, take_weights
from cai.trainer.trainer import Trainer
from tests.trainer.making import make_trainer


def weights(trainer: Trainer, **state: int) -> Checkpoint:
    return Checkpoint(take_weights(trainer.model), state=state)


def test_model_optimizer_and_state_come_back_as_they_were(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.fit()
    saved = load_checkpoint(trainer.checkpoints.last)
    assert saved.model.keys() == trainer.model.state_dict().keys()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(saved.model[name], parameter)
        for key, value in trainer.optimizer.state[parameter].items():
            assert torch.equal(saved.optimizer[name][key], value), (name, key)
    assert saved.state["step"] == 20
    assert saved.state["tokens"] == 20 * 4 * 16


@pytest.mark.parametrize("keep", [0, 2])
def test_keep_is_how_many_older_ones_stay_beside_last(tmp_path: Path, keep: int) -> None:
    trainer = make_trainer(tmp_path, "trainer.save_every=4", f"trainer.keep={keep}")
    trainer.fit()
    steps = [load_checkpoint(path).state["step"] for path in sorted(trainer.checkpoints.path.glob("step_*"))]
    assert steps == ([12, 16, 20] if keep else [])
    assert load_checkpoint(trainer.checkpoints.last).state["step"] == 20


def test_a_full_disk_leaves_the_earlier_checkpoint_and_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path)
    path = tmp_path / "checkpoints" / "last.safetensors"
    save_checkpoint(path, weights(trainer, step=1))

    def full(unfinished: Path) -> None:
        os.truncate(unfinished, 9)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cai.files.sync", full)
    said = r"last\.safetensors could not be written \(No space left.*needs \d.*MiB are free.*intact.*Free some space"
    with pytest.raises(OutputError, match=said):
        save_checkpoint(path, weights(trainer, step=2))
    assert load_checkpoint(path).state["step"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["last.safetensors"]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RunError, match="damaged or something else"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(RunError, match=r"must lie at .*missing\.safetensors"):
        load_checkpoint(tmp_path / "missing.safetensors")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkpoint of a kilobyte with something in every part."""
    path = tmp_path / "tiny.safetensors"
    checkpoint = Checkpoint(
        model={"a.weight": torch.randn(5), "b": torch.arange(3)},
        optimizer={"a.weight": {"step": torch.tensor(3.0), "exp_avg": torch.randn(5, dtype=torch.bfloat16)}},
        average={"a.weight": torch.full((5,), 7.0)},
        random={"python": torch.rand(4, dtype=torch.float64), "torch": torch.arange(8, dtype=torch.uint8)},
        state={"step": 3, "loss": 0.1 + 0.2, "bad": [float("inf")], "text": "가"},
    )
    save_checkpoint(path, checkpoint)
    return path


def header_length(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def assert_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="damaged or something else"):
        load_checkpoint(path)


def flipped(content: bytes, offset: int, bit: int) -> bytes:
    return content[:offset] + bytes([content[offset] ^ 1 << bit]) + content[offset + 1 :]


def test_every_part_comes_back_with_its_type(tiny: Path) -> None:
    saved = load_checkpoint(tiny)
    assert saved.model["b"].tolist() == [0, 1, 2]
    assert saved.optimizer["a.weight"]["exp_avg"].dtype == torch.bfloat16
    assert saved.optimizer["a.weight"]["step"].shape == ()
    assert saved.average["a.weight"].tolist() == [7.0] * 5
    assert saved.random["torch"].tolist() == list(range(8))
    assert saved.state == {"format": FORMAT, "step": 3, "loss": 0.1 + 0.2, "bad": [float("inf")], "text": "가"}


def test_a_model_is_used_with_the_average_of_its_parameters_and_its_own_buffers(tiny: Path) -> None:
    saved = load_checkpoint(tiny)
    assert saved.weights.keys() == {"a.weight", "b"}
    assert saved.weights["a.weight"] is saved.average["a.weight"]
    assert saved.weights["b"] is saved.model["b"]


def test_a_bit_flipped_anywhere_in_the_header_is_noticed(tiny: Path) -> None:
    content, draw = tiny.read_bytes(), random.Random(0)
    for offset in range(8, header_length(tiny)):
        assert_refused(tiny, flipped(content, offset, draw.randrange(8)))


@pytest.mark.parametrize("bit", range(64))
def test_a_bit_flipped_in_the_length_of_the_header_is_noticed(tiny: Path, bit: int) -> None:
    assert_refused(tiny, flipped(tiny.read_bytes(), bit // 8, bit % 8))


def test_a_bit_flipped_anywhere_in_the_data_is_noticed(tiny: Path) -> None:
    content, draw = tiny.read_bytes(), random.Random(0)
    for offset in range(header_length(tiny), len(content)):
        assert_refused(tiny, flipped(content, offset, draw.randrange(8)))


def test_a_file_cut_off_anywhere_is_noticed(tiny: Path) -> None:
    content = tiny.read_bytes()
    for length in [*range(0, len(content), 7), *range(9), len(content) - 1]:
        assert_refused(tiny, content[:length])


@pytest.mark.parametrize("more", [b"\0", b" ", bytes(4096)])
def test_bytes_at_the_end_are_noticed(tiny: Path, more: bytes) -> None:
    assert_refused(tiny, tiny.read_bytes() + more)


def test_two_halves_of_different_checkpoints_are_noticed(tiny: Path) -> None:
    content, cut = tiny.read_bytes(), header_length(tiny)
    other = load_checkpoint(tiny)
    other.model["a.weight"].add_(1)
    save_checkpoint(tiny, other)
    assert_refused(tiny, tiny.read_bytes()[:cut] + content[cut:])


def test_a_text_that_looks_like_the_checksum_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    state = {'"checksum":"': '"checksum":"' + "0" * 64 + '"', "checksum": "0" * 64}
    save_checkpoint(path, Checkpoint({"checksum": torch.ones(1)}, state=state))
    loaded = load_checkpoint(path)
    assert {key: loaded.state[key] for key in state} == state
    assert loaded.model["checksum"].tolist() == [1.0]


def test_a_checkpoint_of_format_1_which_had_no_checksum_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    tensors = {"model.w": torch.ones(2), "optimizer.w.exp_avg": torch.zeros(2)}
    save_file(tensors, path, metadata={"format": "pt", "state": json.dumps({"format": 1, "step": 4})})
    loaded = load_checkpoint(path)
    assert loaded.state["step"] == 4
    assert loaded.model["w"].tolist() == [1.0, 1.0]
    assert loaded.optimizer["w"]["exp_avg"].tolist() == [0.0, 0.0]


def test_a_checkpoint_of_format_2_without_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stripped.safetensors"
    save_file({"model.w": torch.ones(2)}, path, metadata={"state": json.dumps({"format": 2, "step": 4})})
    with pytest.raises(DamagedCheckpoint, match="no checksum"):
        load_checkpoint(path)


def test_a_checkpoint_of_a_newer_cai_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("cai.trainer.checkpoint.FORMAT", FORMAT + 1)
        save_checkpoint(path, Checkpoint({"w": torch.ones(1)}))
    with pytest.raises(RunError, match=rf"format up to {FORMAT}, but has {FORMAT + 1}\. Update CAI") as raised:
        load_checkpoint(path)
    assert not isinstance(raised.value, DamagedCheckpoint)


def test_weights_that_are_views_and_transposed_are_saved_as_they_look(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    whole = torch.arange(12.0).view(3, 4)
    save_checkpoint(path, Checkpoint({"turned": whole.T, "column": torch.arange(6.0).view(2, 3)[:, 1]}))
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.model["turned"], whole.T)
    assert loaded.model["column"].tolist() == [1.0, 4.0]


def test_a_weight_that_a_model_has_under_two_names_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "tied.safetensors"
    weight = torch.randn(3, 2)
    save_checkpoint(path, Checkpoint({"wte.weight": weight, "lm_head.weight": weight}))
    assert torch.equal(load_checkpoint(path).model["lm_head.weight"], weight)


def test_weights_of_another_shape_name_the_parameter_and_both_shapes(tmp_path: Path) -> None:
    small, wide = make_trainer(tmp_path / "a"), make_trainer(tmp_path / "b", "model.n_embd=32")
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, weights(small))
    saved = load_checkpoint(path)
    with pytest.raises(RunError, match=r"small\.safetensors.*c_attn\.bias is \(48,\) there and \(96,\)"):
        load_weights(wide.model, saved.weights, saved.state, path)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("model.n_layer=3", r"not: model\.n_layer: checkpoint 1, config 3\. Take"),
        ("model.n_embd=32", r"not: model\.n_embd: checkpoint 16, config 32\. Take"),
        ("model.block_size=8", r"not: model\.block_size: checkpoint 16, config 8\. Take"),
        ("model.n_head=4", r"not: model\.n_head: checkpoint 2, config 4\. Take"),
        ("model.tie_weights=false", r"not: model\.tie_weights: checkpoint True, config False\. Take"),
    ],
)
def test_a_checkpoint_of_another_model_names_the_option(tmp_path: Path, option: str, said: str) -> None:
    first = make_trainer(tmp_path / "a", "trainer.max_steps=1")
    first.fit()
    other = make_trainer(tmp_path / "b", option)
    with pytest.raises(RunError, match=said):
        other.restore(first.checkpoints.last)


def test_weights_alone_are_nothing_to_go_on_from(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "trainer.max_steps=1")
    trainer.fit()
    with pytest.raises(RunError, match=r"best\.safetensors must hold all .* weights alone\. Use it with generate"):
        trainer.restore(trainer.checkpoints.best)
