"""How many steps pruning saves, and whether it keeps the winner: one sweep of learning rate and depth, three times.

    python benchmarks/prune_bench.py [--data text.txt] [--out DIR]

Jobs one after the other, as on a laptop, each in the order in which the command line spells them out. With ``--out`` the
sweeps stay there, for `cai compare`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cai.runs import read_run
from cai.sweeps import Sweep

STEPS = 200
GRID = ("model.n_layer=2,4,6", "optimizer.lr=0.003,0.01,0.03,0.1")
JOB = (
    "model=modern_nano",
    "model.block_size=256",
    "trainer.batch_size=8",
    f"trainer.max_steps={STEPS}",
    "trainer.eval_every=20",
    "trainer.eval_max_tokens=30000",
    "trainer.log_every=5",
    "trainer.sample_every=0",
    "trainer.samples=1",
    "trainer.answers=0",
    "trainer.save_every=100",
    "trainer.prune_warmup=40",
)
EMBEDDED = ("data.samples=4000",)


def sweep(rule: str, text: str | None, out: Path) -> tuple[Sweep, float]:
    """Runs the sweep with a rule; returns it, and the seconds that it took."""
    source = ("data=text", f"data.path={text}", "tokenizer=bpe", "tokenizer.vocab_size=4000") if text else EMBEDDED
    words = [*source, *JOB, f"trainer.prune={rule}", f"output_dir={out}", f"name=prune_{rule}", "-m", *GRID]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cai", "train", *words], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    (path,) = (out / f"prune_{rule}").glob("*/sweep.json")
    return Sweep.load(path.parent), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="UTF-8 text; without it the embedded corpus")
    parser.add_argument("--out", type=Path, help="where the sweeps are kept; must hold none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        print(f"{'rule':<8}{'steps':>8}{'saved':>8}{'pruned':>8}{'seconds':>9}  winner")
        for rule in ("null", "median", "asha"):
            done, seconds = sweep(rule, arguments.data, out)
            runs = [read_run(done.folder(number)) for number in range(len(done.jobs))]
            steps = sum(run["steps"] for run in runs)
            best = min(range(len(runs)), key=lambda number: runs[number]["best_val_loss"])
            pruned = sum(run["status"] == "pruned" for run in runs)
            saved = 1 - steps / (STEPS * len(runs))
            print(
                f"{rule:<8}{steps:>8,}{saved:>8.0%}{pruned:>8}{seconds:>9.0f}  {done.jobs[best].folder}"
                f" {runs[best]['best_val_loss']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
