"""Checkpoints are whole or absent, and are data."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cai.errors import OutputError, RunError
from cai.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
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

    def full(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cai.trainer.checkpoint.save_file", full)
    with pytest.raises(OutputError, match=r"last\.safetensors could not be written.*No space left.*MiB.*output_dir"):
        save_checkpoint(path, weights(trainer, step=2))
    assert load_checkpoint(path).state["step"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["last.safetensors"]


def test_a_damaged_checkpoint_is_told_from_a_whole_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, weights(trainer, step=1))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="damaged"):
        load_checkpoint(path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RunError, match="damaged or something else"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(RunError, match=r"must lie at .*missing\.safetensors"):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_weights_of_another_shape_name_the_parameter_and_both_shapes(tmp_path: Path) -> None:
    small, wide = make_trainer(tmp_path / "a"), make_trainer(tmp_path / "b", "model.n_embd=32")
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, weights(small))
    with pytest.raises(RunError, match=r"small\.safetensors.*c_attn\.bias is \(48,\) there and \(96,\)"):
        load_weights(wide.model, load_checkpoint(path), path)
