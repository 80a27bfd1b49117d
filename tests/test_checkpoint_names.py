"""What ``checkpoint=`` names: files, the moving average, and the mean of the newest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open

from cai.composition import compose
from cai.config.checkpoints import CheckpointName
from cai.device import Device
from cai.errors import ConfigError, RunError
from cai.harness.model import CaiLM
from cai.runs import find_run
from cai.trained import load_trained
from cai.trainer.checkpoint import load_checkpoint, save_checkpoint
from cai.trainer.state import take_weights
from tests.conftest import train_tiny
from tests.generating import copy_run, generate

CPU = Device("cpu", "fp32", "", compile=False, compile_optimizer=False, threads=1, deterministic=True)
NAMES = ("best", "last", "previous", "ema", "step_00000004", "average:1", "average:12")
NONE = ("newest", "average", "average:", "average:0", "average:-1", "average:1.5", "step_4", "ema:2", "last\n", "../last")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of steps 2, 4 and 6, all kept, with a moving average."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny("trainer.keep=2", "trainer.save_every=2", "trainer.ema_decay=0.5", "trainer.samples=0")


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    return copy_run(trained, scratch)


def weights_of(run: Path, checkpoint: str) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in take_weights(load_trained(run, checkpoint, CPU).model).items()}


def stored(run: Path, checkpoint: str, kind: str = "average") -> dict[str, np.ndarray]:
    """Straight from the file."""
    with safe_open(run / "checkpoints" / f"{checkpoint}.safetensors", "np") as file:
        names = [key for key in file.keys() if key.startswith(f"{kind}.")]  # noqa: SIM118
        return {name.removeprefix(f"{kind}."): file.get_tensor(name) for name in names}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_name_is_one_of_these_and_nothing_else() -> None:
    names: TypeAdapter[str] = TypeAdapter(CheckpointName)
    for name in NAMES:
        assert names.validate_python(name) == name
    for name in NONE:
        with pytest.raises(ValidationError):
            names.validate_python(name)


@pytest.mark.parametrize("verb", ["generate", "evaluate", "export"])
def test_every_command_takes_them(verb: str) -> None:
    with pytest.raises(ConfigError, match=r"`checkpoint` must look like \^\(best\|last\|previous\|ema"):
        compose(["prompt=a"] * (verb == "generate") + ["to=gguf"] * (verb == "export") + ["checkpoint=average:0"], root=verb)


def test_the_moving_average_is_that_of_last_whatever_else_is_asked_for(run: Path) -> None:
    average = stored(run, "last")
    assert average
    assert same(weights_of(run, "ema"), average)
    assert same(weights_of(run, "last"), average)
    assert not same(average, stored(run, "last", "model"))
    assert load_trained(run, "ema", CPU).step == 6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_mean_is_that_of_what_the_newest_checkpoints_are_used_with(run: Path, count: int) -> None:
    newest = [stored(run, name) for name in ("last", "step_00000004", "step_00000002")[:count]]
    found = weights_of(run, f"average:{count}")
    for name in newest[0]:
        expected = np.mean([each[name].astype(np.float64) for each in newest], axis=0)
        np.testing.assert_allclose(found[name], expected.astype(np.float32), rtol=1e-6, atol=1e-9)
        assert found[name].dtype == np.float32
    assert same(found, newest[0]) == (count == 1)
    assert load_trained(run, f"average:{count}", CPU).step == 6


def test_last_is_the_newest_where_it_has_no_other_name(run: Path) -> None:
    (run / "checkpoints" / "step_00000006.safetensors").unlink()
    assert same(weights_of(run, "average:1"), stored(run, "last"))
    expected = weights_of(run, "average:2")
    assert not same(expected, stored(run, "last"))
    shutil.copy(run / "checkpoints" / "last.safetensors", run / "checkpoints" / "step_00000006.safetensors")
    assert same(weights_of(run, "average:2"), expected), "each step counts once"
    shutil.copy(run / "checkpoints" / "step_00000002.safetensors", run / "checkpoints" / "step_00000009.safetensors")
    assert same(weights_of(run, "average:2"), expected), "nothing is newer than last"


def test_too_few_checkpoints_are_refused_with_how_to_have_more(run: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_trained(run, "average:4", CPU)
    for part in ("needs 4 checkpoints", "has 3 (step 2, 4, 6)", "trainer.keep=4", "checkpoint=average:3"):
        assert part in str(caught.value)


def test_a_checkpoint_of_another_model_among_them_is_refused(run: Path) -> None:
    path = run / "checkpoints" / "step_00000004.safetensors"
    saved = load_checkpoint(path)
    table = "wte.weight" if "wte.weight" in saved.model else "embed_tokens.weight"
    saved.model[table] = saved.model[table][:3]
    saved.average.clear()
    path.unlink()
    save_checkpoint(path, saved)
    load_trained(run, "average:1", CPU)
    with pytest.raises(RunError, match=r"step_00000004\.safetensors must hold weights of the configured model"):
        load_trained(run, "average:2", CPU)


def test_a_run_without_a_moving_average_says_how_to_have_one(run: Path) -> None:
    path = run / "checkpoints" / "last.safetensors"
    saved = load_checkpoint(path)
    saved.average.clear()
    save_checkpoint(path, saved)
    with pytest.raises(RunError, match=r"keeps none.*trainer\.ema_decay=0\.999, or take checkpoint=last"):
        load_trained(run, "ema", CPU)


@pytest.mark.parametrize("name", ["average:0", "average:x", "ema2", "newest"])
def test_a_name_from_elsewhere_that_is_none_is_refused_as_one_that_is_not_there(run: Path, name: str) -> None:
    with pytest.raises(RunError, match=f"checkpoint must be one of those saved in .*best.*, but is {name}"):
        load_trained(run, name, CPU)


@pytest.mark.parametrize("name", ["ema", "average:2"])
def test_the_newest_run_is_one_that_has_what_an_average_is_of(run: Path, name: str) -> None:
    newer = run.with_name("newer")
    shutil.copytree(run, newer)
    status = newer / "run.json"
    status.write_text(status.read_text(encoding="utf-8").replace('"started": "2', '"started": "3'), encoding="utf-8")
    (newer / "checkpoints" / "last.safetensors").unlink()
    outputs = Path("outputs")
    assert find_run("last", outputs, "best").name == "newer"
    assert find_run("last", outputs, name).name == run.name


def test_text_is_written_with_a_mean(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(capsys, ["prompt=가", "checkpoint=average:3"])[0].startswith("가")


def test_lm_eval_takes_the_same_names(run: Path) -> None:
    lm = CaiLM(run=str(run), checkpoint="average:2", device="cpu", threads=1)
    assert lm.get_model_info()["checkpoint"] == "average:2"
    found = {name: tensor.numpy() for name, tensor in take_weights(lm.trained.model).items()}
    assert same(found, weights_of(run, "average:2"))
