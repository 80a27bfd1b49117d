"""How long until a model is as good as nanoGPT's: whole commands in alternation, then both checkpoints on every val token.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/time_to_loss.py --nanogpt nanoGPT --text input.txt [--seeds 5] [--experiment NAME ...] [overrides ...]

nanoGPT runs its own scripts: `prepare.py`, then `train.py` with the recipe for CPUs that its README gives (2,000 steps of
12 x 64 characters). CAI runs `cai train experiment=...` in an empty folder. Both counted from command to prompt, imports,
data preparation, evaluations and checkpoints included. Afterwards both models are scored by this script, in fp32, on every
validation character in the same windows of 64 that do not overlap. The cut is nanoGPT's: the last tenth of the characters.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import median, report, run
from torch import nn

from cai.device import plain_cpu
from cai.runs import find_run
from cai.trained import load_trained

BLOCK = 64
RECIPE = [
    "config/train_shakespeare_char.py",
    *("--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1", "--block_size=64", "--batch_size=12"),
    *("--n_layer=4", "--n_head=4", "--n_embd=128", "--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0"),
    "--always_save_checkpoint=True",  # the last weights, not those of the best of its noisy estimates
]


def nanogpt(folder: Path, text: Path, seed: int) -> dict[str, float]:
    """Prepare and train in ``folder``, a copy of nanoGPT."""
    shutil.copyfile(text, folder / "data/shakespeare_char/input.txt")
    (folder / "requests.py").touch()  # its script imports it for a download that is not needed
    script = (folder / "train.py").read_text(encoding="utf-8")
    (folder / "train.py").write_text(script.replace("manual_seed(1337", f"manual_seed({seed}"), encoding="utf-8")
    prepared = run([sys.executable, "data/shakespeare_char/prepare.py"], folder, PYTHONPATH=str(folder))
    trained = run([sys.executable, "train.py", *RECIPE], folder)
    laps = [float(line.split("time ")[1].split("ms")[0]) for line in trained.output.splitlines() if " time " in line]
    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig

    saved = torch.load(folder / "out-shakespeare-char/ckpt.pt", map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**saved["model_args"]))
    model.load_state_dict(saved["model"])
    tokens = np.fromfile(folder / "data/shakespeare_char/val.bin", dtype=np.uint16).astype(np.int64)
    return {
        "seconds": prepared.seconds + trained.seconds,
        "tokens_per_sec": 12 * BLOCK / median(laps) * 1000,
        "val_loss": full_loss(model, tokens),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def cai_run(folder: Path, text: Path, words: list[str], seed: int) -> dict[str, float]:
    """Train in ``folder``, which is empty: tokenizer and shards are made too."""
    command = [sys.executable, "-m", "cai", "train", *words, f"data.path={text}", f"seed={seed}"]
    trained = run(command, folder)
    directory = find_run("last", folder / "outputs")
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    loaded = load_trained(directory, "last", plain_cpu())
    (shard,) = (folder / "outputs/cache/tokens").glob("*/val.bin")
    return {
        "seconds": trained.seconds,
        "tokens_per_sec": median([line["perf/tokens_per_sec"] for line in lines if "perf/tokens_per_sec" in line]),
        "val_loss": full_loss(loaded.model, np.fromfile(shard, dtype=np.uint16).astype(np.int64)),
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
    }


@torch.no_grad()
def full_loss(model: nn.Module, tokens: np.ndarray) -> float:
    """Mean loss in nats over every target, in windows that do not overlap; the last one may be short."""
    model.eval()
    total, ids = 0.0, torch.from_numpy(tokens)
    n = (len(ids) - 1) // BLOCK * BLOCK
    windows = [(ids[:n].view(-1, BLOCK), ids[1 : n + 1].view(-1, BLOCK)), (ids[None, n:-1], ids[None, n + 1 :])]
    for x, y in ((a, b) for xs, ys in windows for a, b in zip(xs.split(256), ys.split(256), strict=True) if a.numel()):
        out: Any = model(x, y)
        # CAI's models give the sum over the targets; nanoGPT's give logits and the mean.
        total += float(out[1]) * y.numel() if isinstance(out, tuple) else float(out)
    return total / (len(ids) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="tiny Shakespeare, as nanoGPT downloads it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--experiment", action="append", help="one or several; by default shakespeare_speedrun")
    parser.add_argument("--only-cai", action="store_true", help="for tuning: leave nanoGPT out")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    experiments = options.experiment or ["shakespeare_speedrun"]
    sides: dict[str, list[dict[str, float]]] = {name: [] for name in ("nanoGPT", *experiments)}
    for number in range(options.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            if not options.only_cai:
                copy = Path(scratch) / "nanogpt"
                shutil.copytree(options.nanogpt, copy, ignore=shutil.ignore_patterns("out*", ".git"))
                sides["nanoGPT"].append(nanogpt(copy, options.text.absolute(), 1337 + number))
            for name in experiments:
                own = Path(scratch) / name
                own.mkdir()
                words = [f"experiment={name}", *options.overrides]
                sides[name].append(cai_run(own, options.text.absolute(), words, 1337 + number))
        print({name: found[-1] for name, found in sides.items() if found}, file=sys.stderr)
    rows: list[list[object]] = [["side", "seconds", "tokens/s", "val loss", "worst", "parameters"]]
    for name, found in sides.items():
        if found:
            seconds, speed = (median([one[key] for one in found]) for key in ("seconds", "tokens_per_sec"))
            mean = math.fsum(one["val_loss"] for one in found) / len(found)
            worst = max(one["val_loss"] for one in found)
            rows.append([name, f"{seconds:.1f}", speed, f"{mean:.4f}", f"{worst:.4f}", f"{found[0]['parameters']:,.0f}"])
    ratios = {}
    for name in experiments:
        if pairs := list(zip(sides[name], sides["nanoGPT"], strict=False)):
            ratios[name] = {key: median([a[key] / b[key] for a, b in pairs]) for key in ("seconds", "tokens_per_sec")}
    report("time_to_loss", rows, {"overrides": options.overrides, "runs": sides, "ratios": ratios})
    for name, found in ratios.items():
        print(f"{name}: {found['seconds']:.3f} of nanoGPT's seconds, {found['tokens_per_sec']:.2f} of its tokens/s")


if __name__ == "__main__":
    main()
