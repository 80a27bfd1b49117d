"""What TensorBoard itself makes of the run directories, asked over HTTP."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cai import board
from cai.cli import main
from cai.composition import compose
from cai.config.board import BoardConfig
from cai.recorder import Recorder
from cai.tensorboard import Scalar, hyperparameters
from tests.conftest import TINY, run_directories, train_tiny
from tests.processes import exit_code, start, the_run
from tests.resuming import TEN_STEPS, cut_short, metrics_of, train_cut

DEADLINE = 90.0


@contextmanager
def tensorboard(folder: Path, *, by_board: bool = False) -> Iterator[str]:
    """A TensorBoard over ``folder`` on a free loopback port; yields its address. ``by_board``: as ``cai board`` starts it,
    with the data server, which reads in Rust; else it reads by itself.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    command += ["--load_fast", "false"]
    if by_board:
        command = board.command(folder, BoardConfig(output_dir="outputs", port=0, host="127.0.0.1", open=False))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) as process:
        clock = threading.Timer(DEADLINE, process.kill)  # one that says nothing is not waited for
        clock.start()
        try:
            assert process.stderr is not None
            said: list[str] = []
            address = board.wait_for_address(process.stderr, said)
            assert address is not None, "TensorBoard did not start"
            assert not by_board or any("fast data loading" in line for line in said)
            yield address
        finally:
            clock.cancel()
            process.terminate()
            process.wait(timeout=20)


def get(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(f"{address}/data/{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def runs_when_loaded(address: str, count: int) -> list[str]:
    """TensorBoard reads in the background: ask until it lists ``count`` runs."""
    end = time.monotonic() + DEADLINE
    while len(runs := get(address, "runs")) < count and time.monotonic() < end:
        time.sleep(0.2)
    return sorted(runs)


@pytest.mark.slow
def test_each_run_directory_is_exactly_one_run_with_its_hyperparameters(scratch: Path) -> None:
    train_tiny("optimizer.lr=0.002")
    assert main(["train", "-m", *TINY, "optimizer.lr=1e-4,3e-4"]) == 0
    outputs = scratch / "outputs"
    directories = [str(path.relative_to(outputs)) for path in run_directories(outputs)]
    assert len(directories) == 3
    with tensorboard(outputs) as address:
        assert runs_when_loaded(address, 3) == sorted(directories)

        for run in directories:
            scalars = get(address, f"plugin/scalars/scalars?run={urllib.parse.quote(run)}&tag=val/loss")
            lines = (json.loads(line) for line in (outputs / run / "metrics.jsonl").read_text().splitlines())
            expected = [(line["step"], line["val/loss"]) for line in lines if "val/loss" in line]
            assert [(step, value) for _, step, value in scalars] == [(s, pytest.approx(v, rel=1e-6)) for s, v in expected]
            texts = get(address, f"plugin/text/text?run={urllib.parse.quote(run)}&tag=samples/text_summary")
            assert texts[-1]["step"] == 6

        query = {
            "experimentName": "",
            "allowedStatuses": ["STATUS_UNKNOWN"],
            "colParams": [],
            "startIndex": 0,
            "sliceSize": 9,
        }
        columns = [{"hparam": "optimizer.lr"}, {"metric": {"group": "", "tag": "val/loss"}}]
        groups = get(address, "plugin/hparams/session_groups", query | {"colParams": columns})["sessionGroups"]
        assert sorted(group["hparams"]["optimizer.lr"] for group in groups) == [1e-4, 3e-4, 0.002]
        assert all(group["hparams"]["model.n_layer"] == 1 for group in groups)
        for group in groups:
            facts = json.loads((outputs / group["name"] / "run.json").read_text())
            newest = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
            assert newest.items() >= {tag: pytest.approx(facts["metrics"][tag], rel=1e-6) for tag in METRICS}.items()
            assert newest["_best/val_loss"] == pytest.approx(facts["best_val_loss"], rel=1e-6)


METRICS = ("val/loss", "val/bits_per_byte", "train/loss")


def record(folder: Path, hyperparameters: dict[str, Scalar], *losses: float) -> None:
    """A run as a trainer would leave it."""
    with Recorder(folder) as recorder:
        recorder.hyperparameters(hyperparameters)
        for step, loss in enumerate(losses):
            recorder.metrics(step, {"train/loss": loss / 2, "val/loss": loss, "val/bits_per_byte": loss / 4})


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps over different options, with a job folder of the same name; one more run that failed early."""
    outputs = tmp_path_factory.mktemp("outputs")
    record(outputs / "run/a/0_x", {"optimizer.lr": 0.1, "model": "Modern", "model.n_layer": 2}, 4.0, 2.0, 3.0)
    record(outputs / "run/a/1_y", {"optimizer.lr": 0.2, "model": "Modern", "model.n_layer": 2}, 4.0, 3.5)
    record(outputs / "run/b/0_x", {"optimizer.lr": 0.1, "model": "GPT2", "model.n_layer": 2, "model.bias": True}, 5.0, 1.0)
    record(outputs / "run/c", {"optimizer.lr": 0.1, "model": "GPT2", "model.n_layer": 2, "model.bias": False})
    return outputs


def test_the_table_is_complete_over_several_sweeps(sweeps: Path) -> None:
    with tensorboard(sweeps) as address:
        assert runs_when_loaded(address, 4) == ["run/a/0_x", "run/a/1_y", "run/b/0_x", "run/c"]
        experiment = get(address, "plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 1000})
        groups = get(address, "plugin/hparams/session_groups", EVERYTHING)["sessionGroups"]
        layout = get(address, "plugin/custom_scalars/layout")
    columns = {info["name"]: info.get("differs", False) for info in experiment["hparamInfos"]}
    assert columns == {"model": True, "model.bias": True, "optimizer.lr": True, "model.n_layer": False}
    first = [info["name"]["tag"] for info in experiment["metricInfos"]][:2]
    assert first == ["_best/bits_per_byte", "_best/val_loss"], "TensorBoard shows the first five without being asked"
    rows = {group["name"]: group for group in groups}
    assert sorted(rows) == ["run/a/0_x", "run/a/1_y", "run/b/0_x", "run/c"], "a row for each run, whatever its folder's name"
    assert rows["run/b/0_x"]["hparams"] == {"optimizer.lr": 0.1, "model": "GPT2", "model.n_layer": 2, "model.bias": True}
    values = {name: {one["name"]["tag"]: one["value"] for one in row["metricValues"]} for name, row in rows.items()}
    assert values["run/a/0_x"] == {
        "train/loss": 1.5,
        "val/loss": 3.0,
        "val/bits_per_byte": 0.75,
        "_best/val_loss": 2.0,
        "_best/bits_per_byte": 0.5,
    }
    assert values["run/c"] == {}
    charts = {chart["title"]: chart["multiline"]["tag"] for part in layout["category"] for chart in part["chart"]}
    assert charts["train and validation"] == ["^train/loss$", "^val/loss$"]
    assert len(charts) == sum(len(part["chart"]) for part in layout["category"]) == 7, "each once, not once for each run"


EVERYTHING = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN"], "colParams": [], "sliceSize": 1000}


def test_the_best_evaluation_outlives_an_interruption(tmp_path: Path) -> None:
    record(tmp_path, {"seed": 1}, 4.0, 2.0)
    sizes = {"metrics.jsonl": (tmp_path / "metrics.jsonl").stat().st_size}
    next_second()
    with Recorder(tmp_path) as recorder:
        recorder.go_on({"sizes": sizes, "step": 1, "owed": None})
        recorder.metrics(2, {"val/loss": 3.0, "val/bits_per_byte": 0.75})
        recorder.metrics(3, {"val/loss": 1.0, "val/bits_per_byte": 0.25})
    assert seen(tmp_path)["_best/val_loss"] == [(0, 4.0), (1, 2.0), (2, 2.0), (3, 1.0)]
    assert seen(tmp_path)["_best/bits_per_byte"] == [(0, 1.0), (1, 0.5), (2, 0.5), (3, 0.25)]


def test_what_decides_a_run_is_in_the_table_and_what_was_asked_for() -> None:
    config = compose(["model=gpt2_nano", "data.wild=0.5"])
    values = hyperparameters(config, ["model=gpt2_nano", "data.wild=0.5", "device.threads=2", "~x", "+trainer.keep=3"])
    main = ("model", "model.n_layer", "model.dropout", "optimizer", "optimizer.lr", "optimizer.weight_decay", "schedule")
    more = ("schedule.warmup_steps", "trainer.max_steps", "trainer.batch_size", "tokenizer", "tokenizer.vocab_size", "seed")
    assert values.keys() >= {*main, *more, "data", "data.wild", "data.packing", "device.precision"}
    assert (values["model"], values["data"], values["data.wild"]) == ("GPT2", "Contacts", 0.5)
    assert values.keys() & {"device.threads", "trainer.keep"} == {"device.threads", "trainer.keep"}
    unasked = ("trainer.log_every", "trainer.save_every", "output_dir", "device.type", "generation.temperature")
    assert values.keys() & {*unasked, "trainer.max_epochs"} == set(), "null options have no value"
    assert all(isinstance(value, bool | int | float | str) for value in values.values())


def test_a_run_writes_one_event_file(scratch: Path) -> None:
    directory = train_tiny()
    assert len(list(directory.rglob("events.out.tfevents.*"))) == 1


def seen(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader makes of a run: the steps and values of each scalar, the steps of the samples."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = EventAccumulator(str(directory), {"tensors": 0})
    accumulator.Reload()
    tags = [tag for tag in accumulator.Tags()["tensors"] if not tag.startswith(("_hparams_", "custom_scalars"))]
    there = "samples/text_summary" in tags
    texts = [(event.step, 0.0) for event in accumulator.Tensors("samples/text_summary")] if there else []
    return {"samples": texts} | {
        tag: [(event.step, float(make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]
        for tag in tags
        if tag != "samples/text_summary"
    }


def next_second() -> None:
    """TensorBoard reads the files of a run in the order of their names, which begin with the second."""
    time.sleep(1 - time.time() % 1)


def expected(directory: Path) -> dict[str, list[tuple[int, Any]]]:
    """The same out of ``metrics.jsonl`` and ``samples.md``, and the best evaluation at each."""
    found: dict[str, list[tuple[int, Any]]] = {}
    best: list[float] = []
    for line in metrics_of(directory):
        if "val/loss" in line:
            best = min(best or [math.inf], [line["val/loss"], line["val/bits_per_byte"]])
            line |= dict(zip(("_best/val_loss", "_best/bits_per_byte"), best, strict=True))
        for tag, value in line.items():
            if tag != "step":
                found.setdefault(tag, []).append((int(line["step"]), pytest.approx(value, rel=1e-6)))
    steps = re.findall(r"^## Step (\d+):", (directory / "samples.md").read_text(encoding="utf-8"), re.MULTILINE)
    return found | {"samples": [(int(step), 0.0) for step in steps]}


def without_speed(scalars: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    return {tag: values for tag, values in scalars.items() if not tag.startswith("perf/")}


@pytest.mark.parametrize("cuts", [(2,), (7,), (4, 9)])
def test_a_resumed_run_shows_every_step_once(scratch: Path, cuts: tuple[int, ...]) -> None:
    directory = train_cut(cuts[0])
    for cut in cuts[1:]:
        with cut_short(cut):
            next_second()
            assert main(["resume", str(directory)]) == 130
    next_second()
    assert main(["resume", str(directory)]) == 0
    assert without_speed(seen(directory)) == expected(directory)


@pytest.mark.parametrize("error", [None, ValueError("a bad corner")])
def test_a_run_that_ends_early_shows_what_it_has_reached(scratch: Path, error: Exception | None) -> None:
    directory = train_cut(7, error=error)
    assert without_speed(seen(directory)) == expected(directory)
    assert seen(directory)["_best/val_loss"][-1][0] == 6


def die_at_step_7() -> None:
    """In a child: SIGKILL, when there are records of step 6 and a checkpoint of step 4."""
    from cai.trainer.update import Update, Updater

    original = Updater.update

    def update(self: Updater, step: int) -> Update:
        if step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, step)

    Updater.update = update  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed and resumed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("killed"))
        assert exit_code(start("train", *TEN_STEPS, prepare=die_at_step_7)) == -signal.SIGKILL
        next_second()
        assert main(["resume", str(the_run())]) == 0
        return the_run().absolute()


def test_a_run_killed_and_resumed_shows_every_step_once(killed: Path) -> None:
    assert without_speed(seen(killed)) == expected(killed)


def test_a_run_killed_and_resumed_is_one_run_of_one_session(killed: Path) -> None:
    sessions = [path for path in killed.glob("events.out.tfevents.*") if b"session_start_info" in path.read_bytes()]
    assert len(sessions) == 1
    with tensorboard(killed.parents[1]) as address:
        assert runs_when_loaded(address, 1) == [f"run/{killed.name}"]
        groups = get(address, "plugin/hparams/session_groups", EVERYTHING)["sessionGroups"]
        assert [len(group["sessions"]) for group in groups] == [1]


def test_a_run_killed_and_resumed_shows_every_step_once_in_cai_board(killed: Path) -> None:
    """Which has the data server read the files, one for each part of the run."""
    pytest.importorskip("tensorboard_data_server")
    assert len(list(killed.glob("events.out.tfevents.*"))) == 2
    told = without_speed(expected(killed))
    with tensorboard(killed.parents[1], by_board=True) as address:
        (run,) = runs_when_loaded(address, 1)
        end = time.monotonic() + DEADLINE
        while (found := scalars_at(address, run, told)) != told and time.monotonic() < end:
            time.sleep(0.2)
    assert found == told


def scalars_at(address: str, run: str, tags: Iterable[str]) -> dict[str, list[tuple[int, float]]]:
    """The same as ``seen``, through the page."""
    known = get(address, "plugin/scalars/tags").get(run, {})
    found: dict[str, list[tuple[int, float]]] = {"samples": []}
    if "samples/text_summary" in get(address, "plugin/text/tags").get(run, []):
        texts = get(address, f"plugin/text/text?run={urllib.parse.quote(run)}&tag=samples/text_summary")
        found["samples"] = [(text["step"], 0.0) for text in texts]
    for tag in known.keys() & set(tags):
        scalars = get(address, f"plugin/scalars/scalars?run={urllib.parse.quote(run)}&tag={tag}")
        found[tag] = [(step, value) for _, step, value in scalars]
    return found
