"""Several processes that train one model: the same curve, one run directory, one end, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cai
from cai.cli import main
from cai.config.roots import TrainConfig
from cai.errors import ConfigError, TrainingError
from cai.launch import together
from cai.runs import read_facts
from cai.schedule.base import ScheduleConfig
from cai.train import train_in
from cai.world import ALONE, World, current
from tests.conftest import TINY

STEPS = 6
WORDS = (
    *(word for word in TINY if word.partition("=")[0] not in ("trainer.max_steps", "data.loss", "device.precision")),
    *(
        "data.loss=answer",
        "model.n_layer=2",
        f"trainer.max_steps={STEPS}",
        f"trainer.eval_every={STEPS // 2}",
        "trainer.log_every=1",
    ),
    *("trainer.batch_size=8", "trainer.micro_batch_size=1", "trainer.samples=0", "trainer.save_every=0"),
)
GPT2 = ("model=gpt2_nano", "model.dropout=0.1", "optimizer=adamw")
FSDP, FLOAT64, FLOAT32 = "device.strategy=fsdp", "device.precision=fp64", "device.precision=fp32"
TWO: dict[str, tuple[str, ...]] = {
    "muon": (FLOAT64,),
    "muon fsdp": (FLOAT64, FSDP, "trainer.ema_decay=0.9", "trainer.histogram_every=3"),
    "adamw fsdp": (FLOAT64, FSDP, *GPT2),
    "adamw fp32": (FLOAT32, *GPT2),
    "lion fsdp": (FLOAT64, FSDP, "optimizer=lion"),
}
FOUR = {name: TWO[name] for name in ("muon", "adamw fsdp")}
BOUND = {FLOAT64: 1e-9, FLOAT32: 1e-3}
"""Of the largest relative difference of a loss."""


def words_of(name: str) -> tuple[str, ...]:
    chosen = TWO[name]
    groups = {word.partition("=")[0] for word in chosen}
    return (*(word for word in WORDS if word.partition("=")[0] not in groups), *chosen)


def train_each(directory: Path, names: list[str]) -> World:
    """A run of each name in a folder of its own. Who this process is."""
    for name in names:
        folder = directory / name
        if current().is_first:
            folder.mkdir(parents=True)
        train_in(folder, cai.compose(words_of(name)))
    return current()


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line[tag] for line in lines for tag in ("train/loss", "val/loss") if tag in line]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """A folder of runs for a number of processes: one start for all of them."""
    before, root = Path.cwd(), tmp_path_factory.mktemp("together")
    os.chdir(root)
    names = {1: list(TWO), 2: list(TWO), 4: list(FOUR)}

    def of(processes: int) -> Path:
        folder = root / str(processes)
        if not folder.exists():
            device = cai.compose([*WORDS, f"device.processes={processes}"]).device
            world = together(device, train_each, folder, names[processes])
            assert world == World(0, processes, 0, processes)
        return folder

    yield of
    os.chdir(before)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "name"), [*((2, name) for name in TWO), *((4, name) for name in FOUR)])
def test_the_number_of_processes_does_not_change_the_curve(
    trained: Callable[[int], Path], processes: int, name: str
) -> None:
    alone, several = losses(trained(1) / name), losses(trained(processes) / name)
    assert len(alone) == len(several) == STEPS + 3
    apart = max(abs(one - other) / abs(one) for one, other in zip(alone, several, strict=True))
    assert apart <= BOUND[next(word for word in TWO[name] if word in BOUND)]


def test_a_run_of_several_is_one_run(trained: Callable[[int], Path]) -> None:
    for name in ("muon", "muon fsdp"):
        one, two = (trained(processes) / name for processes in (1, 2))
        assert {path.name for path in two.iterdir() if "events" not in path.name} == {
            path.name for path in one.iterdir() if "events" not in path.name
        }
        assert len(list(two.glob("events.out*"))) == 1
        assert read_facts(two)["status"] == "finished"


@pytest.mark.slow
def test_what_two_have_saved_three_go_on_with(scratch: Path) -> None:
    words = [word for word in WORDS if "batch_size" not in word and not word.startswith("schedule.")]
    words += [FLOAT64, "trainer.batch_size=6", "trainer.micro_batch_size=auto", "schedule=constant", FSDP]
    assert main(["train", *words, "name=whole"]) == 0
    assert main(["train", *words, "name=cut", f"trainer.max_steps={STEPS // 2}", "device.processes=2"]) == 0
    (whole,), (cut,) = (list(Path(f"outputs/{name}").iterdir()) for name in ("whole", "cut"))
    assert main(["resume", str(cut), f"trainer.max_steps={STEPS}", "device.processes=3"]) == 0
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-9)


def test_sequences_are_shared_out() -> None:
    shares = [World(rank, 4, rank, 4).share(12) for rank in range(4)]
    assert [number for share in shares for number in share] == list(range(12))
    assert ALONE.share(5) == range(5)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["trainer.batch_size=6", "trainer.micro_batch_size=auto"], "must be a multiple of the number of processes (4)"),
        (["trainer.batch_size=8", "trainer.micro_batch_size=4"], "must divide a process's share of the batch (8 / 4 = 2)"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(words: list[str], part: str) -> None:
    from cai.trainer.update import share_of

    config = cai.compose([*WORDS, *words])
    device = config.device.build()
    device = type(device)(**{**vars(device), "world": World(0, 4, 0, 4)})
    with pytest.raises(ConfigError) as refused:
        share_of(config.trainer, device)
    assert part in str(refused.value)


class BrokenConfig(ScheduleConfig):
    """Fails in the second process, in the middle of the run."""

    def after_warmup(self, progress: float) -> float:
        if current().rank == 1 and progress > 0.3:
            raise ValueError("something is wrong here")
        return 1.0


def train_broken(directory: Path, config: TrainConfig) -> None:
    directory.mkdir(exist_ok=True)
    train_in(directory, config.model_copy(update={"schedule": BrokenConfig(warmup_steps=1)}))


@pytest.mark.slow
def test_what_fails_in_one_process_is_what_the_run_says(scratch: Path) -> None:
    config = cai.compose([*WORDS, FLOAT32, "device.processes=2"])
    with pytest.raises(TrainingError) as failed:
        together(config.device, train_broken, scratch / "broken", config)
    assert "process 1 of 2 has failed: ValueError: something is wrong here" in str(failed.value)
    assert read_facts(scratch / "broken")["status"] == "failed"
    assert "in after_warmup" in (scratch / "broken" / "train.log").read_text(encoding="utf-8")


LIMIT = 60.0
LONG = (
    "trainer.max_steps=120",
    "trainer.save_every=10",
    "trainer.eval_every=0",
    "trainer.log_every=20",
    "schedule=constant",
)


def start(*words: str) -> subprocess.Popen[str]:
    """A run of two processes, once it has saved something."""
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    keys = {word.partition("=")[0] for word in LONG}
    short = [word for word in WORDS if word.partition("=")[0] not in keys and not word.startswith("schedule.")]
    command = [sys.executable, "-m", "cai", "train", *short, *LONG, FLOAT64, "device.processes=2", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + LIMIT
    while not list(Path("outputs").glob("run/*/checkpoints/last.safetensors")):
        assert time.monotonic() < end, process.communicate()[0]
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return process


def children(pid: int) -> list[int]:
    """Processes that were started by this one, and train."""
    listed = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    return [int(child) for child in listed if b"spawn_main" in (Path("/proc") / child / "cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "whom", "code", "status"), [("SIGKILL", "one", 1, "failed"), ("SIGTERM", "all", 143, "interrupted")]
)
def test_a_run_of_which_a_process_is_stopped_ends_and_is_gone_on_with_by_one(
    scratch: Path, name: str, whom: str, code: int, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start()
    members = children(process.pid)
    assert len(members) == 2
    begun = time.monotonic()
    os.kill(members[1] if whom == "one" else process.pid, getattr(signal, name))
    output = process.communicate(timeout=LIMIT)[0]
    assert time.monotonic() - begun < 30
    (run,) = Path("outputs/run").iterdir()
    facts = read_facts(run)
    assert (process.returncode, facts["status"]) == (code, status), output
    assert not any((Path("/proc") / str(member)).exists() for member in members)
    saved = facts["saved_step"]
    assert 0 < saved < 120
    assert main(["resume", str(run), "device.processes=1", "trainer.save_every=0"]) == 0
    assert read_facts(run)["steps"] == 120
