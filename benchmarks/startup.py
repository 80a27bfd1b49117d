"""Start-up: from the command to the first training step, and `cai --help`.

    python benchmarks/startup.py [--rounds 5] [overrides ...]

Whole processes with warm caches, in alternation with a bare `import torch`, which is subtracted. The first step has been
taken when the clock stops: plan, trial passes and the evaluation before it included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from measuring import median, report, run

FIRST_STEP = """
import os, sys
from cai.cli import main
import cai.trainer.trainer as trainer

original = trainer.Trainer._take_step

def first_step(self, bar):
    original(self, bar)
    sys.stdout.flush()
    os._exit(0)

trainer.Trainer._take_step = first_step
sys.exit(main(["train", *sys.argv[1:]]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "cai --help": [sys.executable, "-m", "cai", "--help"],
        "first step, device=auto": [sys.executable, "-c", FIRST_STEP, *options.overrides],
        "first step, fp32": [sys.executable, "-c", FIRST_STEP, "device.precision=fp32", *options.overrides],
        "first step, muon": [sys.executable, "-c", FIRST_STEP, "model=modern", "optimizer=muon", *options.overrides],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for command in commands.values():  # fills the caches
            run(command, Path(folder))
        for _ in range(options.rounds):
            for name, command in commands.items():
                time.sleep(1.1)  # two runs of one second would otherwise share a folder's name and be told apart
                seconds[name].append(run(command, Path(folder)).seconds)
    torch_alone = median(seconds["import torch"])
    rows: list[list[object]] = [["what", "seconds", "beyond torch"]]
    for name, values in seconds.items():
        beyond = f"{median(values) - torch_alone:.2f}" if name.startswith("first") else ""
        rows.append([name, f"{median(values):.2f}", beyond])
    report("startup", rows, {"seconds": seconds})


if __name__ == "__main__":
    main()
