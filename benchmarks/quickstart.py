"""A run with its answers, measured: wall-clock from the command to the prompt, peak memory, losses, and the scores.

    python benchmarks/quickstart.py [--contacts FILE] [overrides ...]

Runs `cai train` in a scratch folder as its own process; the run itself scores its answers to 200 questions about
organisations of a world that training never saw. `--contacts` then asks about real organisations as well, out of a JSONL of
them with name, tel, addr and web. Prints a table and writes `quickstart.json` into the current folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import machine

from cai.runs import find_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=Path)
    options, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cai("train", *overrides, folder=folder)
        figures: dict[str, object] = {
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
        }
        run = find_run("last", Path(folder) / "outputs")
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        validation = [entry["val/loss"] for entry in metrics if "val/loss" in entry]
        figures |= {"val_loss_first": validation[0], "val_loss_last": validation[-1]}
        figures |= {key: value for entry in metrics for key, value in entry.items() if key.startswith("answers/")}
        if options.contacts:
            figures |= real_answers(run, options.contacts.resolve(), folder)
    figures |= machine()
    Path("quickstart.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:<24}{value}")


def real_answers(run: Path, contacts: Path, folder: str) -> dict[str, object]:
    """The scores over questions about real organisations, each answered from a document made of its record."""
    out = Path(folder) / "real.json"
    data = ["data=contacts_file", f"data.path={contacts}", "data.val_ratio=0.5", "data.questions=1"]
    cai("evaluate", f"run={run}", "likelihood=false", f"out={out}", *data, folder=folder)
    return {f"real_{key}": value for key, value in json.loads(out.read_text())["figures"].items()}


def cai(*words: str, folder: str) -> None:
    subprocess.run([sys.executable, "-m", "cai", *words], cwd=folder, check=True)


if __name__ == "__main__":
    main()
