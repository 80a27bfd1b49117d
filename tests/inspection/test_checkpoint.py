"""What is said of a checkpoint is what is in it; a damaged one, and one with numbers that are none, are told."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from cai.cli import main
from cai.errors import RunError
from cai.inspection.checkpoint import AVERAGE, RANDOM, WEIGHTS, figures_of, mean_contents, read_contents
from cai.inspection.checkpoint_page import distance_of_average
from cai.trained import load_trained
from cai.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import train_tiny

OPTIONS = ("trainer.ema_decay=0.5", "trainer.keep=3", "trainer.save_every=2", "trainer.eval_every=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("checkpoint")
    with contextlib.chdir(folder):
        yield folder / train_tiny(*OPTIONS)


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["inspect", "checkpoint", *words]) == code
    return capsys.readouterr().out


def test_all_that_a_run_goes_on_from_is_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, f"run={run}")
    saved = load_checkpoint(run / "checkpoints/last.safetensors")
    numbers = sum(tensor.numel() for tensor in saved.model.values())
    assert "the checksum over every byte is right" in out
    assert re.search(r"step +6 of 6, 768 tokens, .* of updates, best val loss \d\.\d{4} at step 6", out)
    assert "all that a run goes on from" in out
    assert "every number is" in out
    assert "n_embd 16" in out
    assert "vocab_size 400" in out
    assert "tie_weights true" in out
    assert "embed_tokens.weight is the head too, and is there once" in out
    assert re.search(rf"^weights +{len(saved.model)} +{numbers:,} +\d+\.\d KiB +\d+\.\d+ +float32$", out, re.M)
    assert re.search(rf"^moving average +{len(saved.average)} ", out, re.M)
    assert re.search(r"^optimizer: momentum_buffer +6 ", out, re.M)
    assert re.search(r"^optimizer: exp_avg +10 ", out, re.M)
    assert re.search(r"^random states +3 ", out, re.M)
    assert re.search(r"3 groups of parameters: learning rate [\d., e-]+; weight decay 0.1, 0.1, 0; 4 sequences at once", out)
    assert "also named   step_00000006" in out


def test_weights_alone_are_said_to_be_that(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, f"run={run}", "checkpoint=best")
    assert "weights alone" in out
    assert "optimizer" not in out
    assert "best.safetensors" in out


def test_figures_are_those_of_the_numbers(run: Path) -> None:
    weights = load_checkpoint(run / "checkpoints/last.safetensors").model
    found = {one.module: one for one in figures_of(weights)}
    matrix = weights["layers.0.mlp.up_proj.weight"].double()
    one = found["layers.0.mlp.up_proj"]
    assert (one.norm, one.mean) == pytest.approx((float(matrix.norm()), float(matrix.mean())))
    assert (one.std, one.largest) == pytest.approx((float(matrix.std(correction=0)), float(matrix.abs().max())))
    mixes = torch.cat([weights[f"layers.0.attn_shift.mix.{number}"] for number in range(3)]).double()
    assert found["layers.0.attn_shift.mix"].numbers == 48
    assert found["layers.0.attn_shift.mix"].std == pytest.approx(float(mixes.std(correction=0)))
    assert sum(one.numbers for one in found.values()) == sum(tensor.numel() for tensor in weights.values())


def test_modules_come_in_the_order_of_their_numbers() -> None:
    weights = {f"layers.{number}.weight": torch.ones(2) for number in (10, 2, 0)} | {
        "count": torch.ones(1, dtype=torch.int64)
    }
    assert [one.module for one in figures_of(weights)] == ["layers.0", "layers.2", "layers.10"]
    (constant,) = figures_of({"norm.weight": torch.full((7,), 0.1)})
    assert constant.std < 1e-15


def test_an_average_says_what_it_comes_from(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = read_contents(run / "checkpoints/last.safetensors")
    assert set(contents.parts) >= {WEIGHTS, AVERAGE, RANDOM}
    assert contents.used["embed_tokens.weight"] is contents.parts[AVERAGE]["embed_tokens.weight"]
    pairs = [(contents.parts[WEIGHTS][name], mean) for name, mean in contents.parts[AVERAGE].items()]
    apart = math.sqrt(sum(float((one - mean).double().square().sum()) for one, mean in pairs))
    norm = math.sqrt(sum(float(one.double().square().sum()) for one, _ in pairs))
    assert f"{apart / norm:.2%}" in distance_of_average(contents)
    out = said(capsys, f"run={run}", "checkpoint=ema")
    assert "used are those of the moving average at this step" in out
    assert "module of the moving average" in out
    out = said(capsys, f"run={run}", "checkpoint=average:3")
    assert "the mean of last, step_00000004, step_00000002: made anew whenever it is used" in out
    assert "weights alone" in out


def test_the_mean_is_the_one_that_is_used(run: Path) -> None:
    from cai.composition import compose

    device = compose(["device=cpu", "device.precision=fp32"]).device.build()
    folder = run / "checkpoints"
    used = load_trained(run, "average:2", device).model.state_dict()
    found = mean_contents([folder / "last.safetensors", folder / "step_00000004.safetensors"]).parts[WEIGHTS]
    assert all(torch.equal(found[name], tensor) for name, tensor in used.items())
    assert found.keys() == used.keys()


@pytest.mark.parametrize("place", [20, -3])
def test_a_damaged_one_is_said_to_be_with_those_that_are_whole(
    copied: Path, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "checkpoints/last.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.unlink()
    path.write_bytes(content)
    assert main(["inspect", "checkpoint", f"run={copied}"]) == 2
    message = capsys.readouterr().err
    assert f"{path} must be a" in message
    assert "Whole ones there: best, previous, step_00000002, step_00000004, step_00000006" in message
    assert f"cai resume {copied}" in message


def test_numbers_that_are_none_are_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "checkpoints/last.safetensors"
    saved = load_checkpoint(path)
    saved.model["layers.0.attn.q_proj.weight"][0, :2] = math.nan
    saved.optimizer["token_shift.mix.1"]["exp_avg"][3] = math.inf
    save_checkpoint(path, saved)
    out = said(capsys, f"run={copied}", code=1)
    assert "layers.0.attn.q_proj.weight: 2 of 256; token_shift.mix.1 (optimizer: exp_avg): 1 of 16" in out
    assert "every number is" not in out
    assert "nan" not in out.partition("\nmodule")[2]


def file_of(folder: Path, tensors: dict[str, Tensor]) -> Path:
    path = folder / "weights.safetensors"
    path.write_bytes(save(tensors))
    return path


def test_a_file_of_another_program_is_looked_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = torch.arange(12.0).view(4, 3)
    path = file_of(tmp_path, {"model.embed_tokens.weight": table, "lm_head.weight": table + 1, "n": torch.tensor([3])})
    out = said(capsys, f"path={path}")
    assert "not a checkpoint of CAI's" in out
    assert "step" not in out
    assert "no: lm_head.weight is another matrix than model.embed_tokens.weight" in out
    assert re.search(r"^weights +3 +25 .* (float32, int64|int64, float32)$", out, re.M)
    assert re.search(r"^model.embed_tokens +4 x 3 +22.49 +\+5.5e\+00 +3.45 +11$", out, re.M)
    file_of(tmp_path, {"model.embed_tokens.weight": table, "lm_head.weight": table.clone()})
    assert "written twice: lm_head.weight equals model.embed_tokens.weight" in said(capsys, f"path={path}")
    file_of(tmp_path, {"a\x1b[31m.weight": torch.ones(2)})
    out = said(capsys, f"path={path}")
    assert "\x1b" not in out
    assert "tied" not in out
    assert "\\x1b[31m" in out


def test_what_cannot_be_looked_into_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for path, why in (("torn.safetensors", "cannot be read"), ("nothing", "is not there"), (".", "is a folder")):
        with pytest.raises(RunError, match=why):
            read_contents(tmp_path / path)
    assert main(["inspect", "checkpoint", f"run={run}", "checkpoint=step_00000099"]) == 2
    assert (
        "(best, last, previous, step_00000002, step_00000004, step_00000006), but is step_00000099"
        in capsys.readouterr().err
    )
    assert main(["inspect", "checkpoint", f"run={run}", "checkpoint=average:9"]) == 2
    assert "needs 9 checkpoints of different steps" in capsys.readouterr().err


def test_a_stranger_s_numbers_are_shown_as_far_as_they_are_some(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "checkpoints/best.safetensors"
    saved = load_checkpoint(path)
    odd = {"step": "x", "max_steps": [1], "groups": [3, {"lr": "y"}], "model": {"a": [1], "b": "\x1b[2J"}, "scaler": 5}
    saved.state.clear()
    saved.state.update(odd | {"best_val_loss": {}, "seconds": 1e400, "tokens": -1})
    save_checkpoint(path, saved)
    out = said(capsys, f"run={copied}", "checkpoint=best")
    assert "step         unknown" in out
    assert "\x1b" not in out
    assert "b \\x1b[2J" in out
