"""What TensorBoard itself makes of the run directories, asked over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cai.cli import main
from tests.conftest import TINY, run_directories, train_tiny

DEADLINE = 90.0


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """A TensorBoard over ``folder`` on a free loopback port; yields its address."""
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    process = subprocess.Popen([*command, "--load_fast", "false"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"at (http://\S+?)/? ", line):
                yield found[1]
                break
        else:
            pytest.fail("TensorBoard did not start")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stderr.close()  # type: ignore[union-attr]


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
        tags = {value["name"]["tag"] for group in groups for value in group["metricValues"]}
        assert "val/loss" in tags


def test_a_run_writes_one_event_file(scratch: Path) -> None:
    directory = train_tiny()
    assert len(list(directory.rglob("events.out.tfevents.*"))) == 1
