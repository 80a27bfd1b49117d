"""TensorBoard and `cai list` over many runs: two sweeps over different options, written by CAI's own recorder.

    python benchmarks/board_bench.py [--runs 200] [--points 1000] [--keep FOLDER]

Seconds until the page answers, until it lists every run, and until its HParams table is complete; and that the table is:
one row for each run, a column for each option of either sweep, the final and the best validation loss in every row.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import last_json, median, report, run

from cai.composition import compose
from cai.recorder import Recorder
from cai.tensorboard import BEST, hyperparameters

SWEEPS = {"depth": ("model.n_layer", "optimizer.lr"), "width": ("model.n_embd", "data.wild")}
LIST = "import json, time; from cai.cli import main; t = time.perf_counter(); main(['list', '{}']);"
LIST += "print(json.dumps({{'seconds': time.perf_counter() - t}}))"
EVERY_ROW = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN"], "colParams": [], "sliceSize": 100_000}
DEADLINE = 600.0


def make_runs(outputs: Path, runs: int, points: int) -> None:
    """Half of the runs in each sweep, as training would leave them."""
    half = runs // 2
    for name, (one, other) in SWEEPS.items():
        folders = [f"{number}_{one}-{number % 10}_{other}-{number // 10}" for number in range(half)]
        for number, folder in enumerate(folders):
            words = [f"{one}={8 + number % 10 * 8}" if "embd" in one else f"{one}={1 + number % 10}"]
            words.append(f"{other}={(1 + number // 10) / 100}")
            make_run(outputs / name / "2026-01-01_00-00-00" / folder, words, points, number)
        jobs = [{"folder": folder, "overrides": [], "config": {}} for folder in folders]
        (outputs / name / "2026-01-01_00-00-00" / "sweep.json").write_text(json.dumps({"overrides": [], "jobs": jobs}))


def make_run(folder: Path, words: list[str], points: int, number: int) -> None:
    folder.mkdir(parents=True)
    config = compose(["model.n_head=2", *words])
    losses = [2 + math.exp(-step / 200) + 0.001 * number for step in range(points)]
    with Recorder(folder) as recorder:
        recorder.hyperparameters(hyperparameters(config, words))
        for step, loss in enumerate(losses):
            evaluated = {"val/loss": loss + 0.1, "val/bits_per_byte": loss / 3} if step % 50 == 0 else {}
            recorder.metrics(step, {"train/loss": loss, **evaluated})
    facts = {"status": "finished", "started": "2026-01-01T00:00:00+00:00", "steps": points, "max_steps": points}
    (folder / "run.json").write_text(json.dumps(facts | {"best_val_loss": min(losses)}))


@contextmanager
def board(outputs: Path) -> Iterator[str]:
    """The address that `cai board` prints."""
    command = [sys.executable, "-m", "cai", "board", str(outputs), "port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(": ")[1].split()[0]
        finally:
            process.terminate()


def get(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(f"{address}/data/{path}", data=json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def until(condition: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("TensorBoard did not get so far")
        time.sleep(0.2)


def is_complete(address: str, runs: int) -> bool:
    """Whether every run has its row, with the options of both sweeps and the final and best figures."""
    experiment = get(address, "plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 1000})
    columns = {info["name"] for info in experiment.get("hparamInfos", []) if info.get("differs")}
    groups = get(address, "plugin/hparams/session_groups", EVERY_ROW).get("sessionGroups", [])
    swept = {option for options in SWEEPS.values() for option in options}
    rows = [{value["name"]["tag"] for value in group.get("metricValues", [])} for group in groups]
    whole = all(row >= {*BEST, *BEST.values()} for row in rows) and all(group["hparams"].keys() >= swept for group in groups)
    return len(groups) == runs and columns >= swept and whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outputs = options.keep or Path(folder) / "outputs"
        if not outputs.exists():
            make_runs(outputs, options.runs, options.points)
        seconds = {}
        listing = [last_json(run([sys.executable, "-c", LIST.format(outputs)]).output)["seconds"] for _ in range(3)]
        begun = time.monotonic()
        with board(outputs) as address:
            seconds["the page answers"] = time.monotonic() - begun
            until(lambda: len(get(address, "runs")) >= options.runs)
            seconds["every run is listed"] = time.monotonic() - begun
            until(lambda: is_complete(address, options.runs))
            seconds["the table is complete"] = time.monotonic() - begun
            count = len(get(address, "runs"))
    seconds["cai list"] = median(listing)
    rows: list[list[object]] = [["what", "seconds"], *([name, value] for name, value in seconds.items())]
    rows.append([f"runs: {count} of {options.runs}", ""])
    report("board_bench", rows, {"seconds": seconds, "runs": count, "points": options.points})
    if count != options.runs:
        raise SystemExit(f"TensorBoard must show {options.runs} runs, but shows {count}")


if __name__ == "__main__":
    main()
