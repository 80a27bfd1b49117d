"""The next update of a run, looked at: the one that training takes, nothing changed by it, and what is wrong flagged."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.cli import main
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.inspection.attention import heads_of
from cai.inspection.gradients import Gradients, Parameter, gradients_of, stiff_heads
from cai.inspection.standing import Standing, standing_at
from cai.runs import CONFIG, read_run
from cai.trainer.checkpoint import load_checkpoint
from tests.conftest import TINY, train_tiny

TEXT = (
    *(word for word in TINY if not word.startswith("data.")),
    *("data=text", "data.path=text.txt", "data.separator=line", "data.val_ratio=0.2", "tokenizer.vocab_size=300"),
    *(
        "model.dropout=0.1",
        "schedule=constant",
        "schedule.warmup_steps=0",
        "trainer.ema_decay=0.5",
        "trainer.grad_clip=0.01",
    ),
    *("trainer.max_steps=3", "trainer.eval_every=2", "trainer.log_every=1", "trainer.save_every=1", "trainer.keep=9"),
)
"""A run over a file, with all that decides an update beside weights: dropout, clipping, a moving average of the weights."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps; looked at by ``looked``, and then resumed for two more."""
    folder = tmp_path_factory.mktemp("gradients")
    lines = [f"{name}병원 전화 02-{number:04d}-{7 * number:04d}\n" for number in range(60) for name in ("가온", "봄들")]
    (folder / "text.txt").write_text("".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_tiny(tiny=TEXT)
    return folder


def run_of(folder: Path) -> Path:
    (directory,) = (path.parent for path in folder.glob("outputs/run/*/run.json"))
    return directory


def stand(folder: Path, checkpoint: str = "step_00000003", patch: dict[str, Any] | None = None) -> Standing:
    directory = run_of(folder)
    config = load_config(directory / CONFIG, TrainConfig)
    config = config.model_copy(update=patch or {})
    return standing_at(directory, checkpoint, config, read_run(directory), config.device.build(), folder / "outputs/cache")


@pytest.fixture(scope="module")
def looked(folder: Path) -> tuple[Standing, Gradients]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        standing = stand(folder)
        return standing, gradients_of(standing.updater, standing.step)


@pytest.fixture(scope="module")
def resumed(folder: Path, looked: object) -> Path:
    """The run, gone on with after it was looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["resume", "last", "trainer.max_steps=5"]) == 0
    return run_of(folder)


def metrics_at(directory: Path, step: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        if json.loads(line)["step"] == step:
            found |= json.loads(line)
    return found


def test_loss_and_gradient_are_those_of_the_resumed_run(looked: tuple[Standing, Gradients], resumed: Path) -> None:
    standing, found = looked
    next_one = metrics_at(resumed, 4)
    assert standing.step == 3
    assert (found.loss, found.norm) == (next_one["train/loss"], next_one["train/grad_norm"])  # to the bit
    assert standing.updater.lrs(3)[0] == next_one["train/lr"]
    assert found.norm > 0.01
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(resumed.parents[2])
        other = stand(resumed.parents[2], patch={"seed": 2})
        assert gradients_of(other.updater, 3).norm != found.norm, "another batch and another dropout"
    total = math.sqrt(sum(parameter.norm**2 for parameter in found.parameters if parameter.norm is not None))
    assert total == pytest.approx(found.norm, rel=1e-5)


def test_the_update_that_is_measured_is_the_one_that_the_run_takes(
    looked: tuple[Standing, Gradients], resumed: Path
) -> None:
    standing, found = looked
    before, after = (load_checkpoint(resumed / f"checkpoints/step_0000000{step}.safetensors").model for step in (3, 4))
    assert {parameter.name for parameter in found.parameters} == before.keys()
    for parameter in found.parameters:
        here = standing.updater.model.get_parameter(parameter.name)
        assert here.equal(after[parameter.name])
        assert parameter.shape == tuple(here.shape)
        moved, size = (after[parameter.name] - before[parameter.name]).norm(), before[parameter.name].norm()
        assert parameter.weight == pytest.approx(float(size), rel=1e-5)
        if size:
            assert parameter.ratio == pytest.approx(float(moved / size), rel=1e-4)
        assert parameter.mean is not None
        assert parameter.std is not None
        assert parameter.norm is not None
        square = (parameter.mean**2 + parameter.std**2) * here.numel()
        assert math.sqrt(square) == pytest.approx(parameter.norm, rel=1e-4)


def hashes(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("checkpoint", "note"),
    [("last", ""), ("best", "best holds no optimizer state"), ("ema", "an average of weights has no optimizer state")],
)
def test_the_command_prints_all_and_changes_nothing(
    checkpoint: str,
    note: str,
    resumed: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = hashes(resumed)
    assert main(["inspect", "gradients", "run=last", f"checkpoint={checkpoint}"]) == 0
    assert hashes(resumed) == before
    said = capsys.readouterr().out
    assert (f"note: {note}" if note else "clipped to 0.01") in said
    assert note or "note:" not in said
    if checkpoint == "last":
        assert re.search(r"checkpoint +last, 5 of 5 updates taken", said)
        assert "the run is over, this is the rate of its last step" in said
    lines = said.splitlines()
    place = lines.index("layers.0")
    assert re.match(r"  attn_shift\.mix\.0 +16 +-?\d\.\d\de[-+]\d\d ", lines[place + 1])
    assert re.search(r"^layers\.0\.mlp +relu +64 ", said, re.M)


def test_what_is_wrong_with_a_parameter_is_flagged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    standing = stand(folder)
    mlp = standing.updater.model.get_submodule("layers.0.mlp")
    with torch.no_grad():
        mlp.get_parameter("up_proj.weight")[:24] = 0  # relu(0) is not above 0
        mlp.get_parameter("down_proj.weight").zero_()
    standing.updater.model.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    flags = {one.name: one.flags for one in gradients_of(standing.updater, 3).parameters}
    assert flags["layers.0.mlp.up_proj.weight"] == ("zero gradient",)
    assert flags["layers.0.mlp.down_proj.weight"] == ("all zero",)
    assert flags["unused"] == ("no gradient",)


def test_units_that_are_dead_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    standing = stand(folder)
    with torch.no_grad():
        standing.updater.model.get_parameter("layers.0.mlp.up_proj.weight")[:24] = 0
    found = gradients_of(standing.updater, 3)
    assert [(one.module, one.size) for one in found.units] == [("layers.0.mlp", 64)]
    assert 24 <= found.units[0].dead < 40


@pytest.mark.parametrize(("factor", "flag"), [(1e4, "large update"), (1e-4, "small update")])
def test_a_rate_that_is_far_off_is_flagged(
    factor: float, flag: str, folder: Path, looked: tuple[Standing, Gradients], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ordinary = [one for one in looked[1].parameters if "attn." in one.name and one.weight > 3]
    assert [one.flags for one in ordinary] == [()] * 3
    config = load_config(run_of(folder) / CONFIG, TrainConfig)
    optimizer = config.optimizer.model_copy(update={"lr": config.optimizer.lr * factor})
    found = gradients_of(stand(folder, patch={"optimizer": optimizer}).updater, 3)
    assert [one.flags for one in found.parameters if one.name in {one.name for one in ordinary}] == [(flag,)] * 3


def test_a_rate_that_is_low_by_its_schedule_is_not_flagged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    standing = stand(folder)
    standing.updater.schedule = lambda step: 1e-4
    found = gradients_of(standing.updater, 3)
    assert len([one for one in found.parameters if one.ratio is not None and one.ratio < 1e-5]) >= 3
    assert not any("small update" in one.flags for one in found.parameters)


def test_a_gradient_that_is_no_number_is_flagged_and_no_update_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    standing = stand(folder)
    weight = standing.updater.model.get_parameter("layers.0.attn.v_proj.weight")
    with torch.no_grad():
        weight[0, 0] = math.inf
    found = gradients_of(standing.updater, 3)
    assert not math.isfinite(found.loss)
    assert math.isnan(found.norm)
    assert all("not finite" in one.flags and one.ratio is None for one in found.parameters if "q_proj" in one.name)


def test_heads_that_say_nothing_are_named() -> None:
    size = 40
    alike = torch.ones(1, size, size).tril() / torch.arange(1, size + 1)[:, None]
    one = torch.eye(size)[None]
    either = (alike + one) / 2
    found = dict(stiff_heads(heads_of([torch.cat([alike, either]), one], None)))
    assert [[(head.layer, head.head) for head in heads] for heads in found.values()] == [[(0, 0)], [(1, 0)]]
    assert [words.split(" (")[0] for words in found] == ["look everywhere alike", "look at one token each time"]


def test_data_that_are_gone_are_told_with_what_helps(
    folder: Path, resumed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "text.txt", "moved.txt")
    words = ["inspect", "gradients", f"run={resumed}", "checkpoint=step_00000003"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "the run's data must be there" in said
    assert str(folder) in said
    assert main([*words, "data.path=moved.txt"]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"loss +{metrics_at(resumed, 4)['train/loss']:.4f}", said)
    assert "note:" not in said
    Path("moved.txt").write_text(Path("moved.txt").read_text(encoding="utf-8").replace("전화", "번호"), encoding="utf-8")
    assert main([*words, "data.path=moved.txt"]) == 0
    assert "note: the run's data are others now" in capsys.readouterr().out


def test_what_would_make_it_another_update_is_refused(
    folder: Path, resumed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["inspect", "gradients", "run=last", "optimizer.lr=3.0", "trainer.max_steps=9"]) == 2
    said = capsys.readouterr().err
    assert "`optimizer.lr` must stay 0.02 as in the run, but is 3.0. Leave it out." in said
    assert "`trainer.max_steps` must stay 5" in said
    shutil.copytree(resumed, "export")
    Path("export/export.json").write_text("{}")
    assert main(["inspect", "gradients", "run=export"]) == 2
    assert "run must be a run, but export is an export" in capsys.readouterr().err


def test_a_parameter_without_a_figure_is_a_dash() -> None:
    from cai.inspect_gradients import _table

    empty = Parameter("h.0.x", (), None, None, None, 0.0, None, ("no gradient", "all zero"))
    assert _table([empty]).splitlines()[-1].split() == [
        "x",
        "scalar",
        "-",
        "-",
        "-",
        "0.00e+00",
        "-",
        "no",
        "gradient,",
        "all",
        "zero",
    ]
