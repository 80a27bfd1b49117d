"""Trains every variant with three seeds, then makes this record: configs/, losses.csv and the table for the README.

    python experiments/ablation/run.py path/to/tinyshakespeare.txt [variant ...]

Each variant is a sweep of its own over the seeds, under outputs/ablation_<variant>/; one that is there already is not
trained again.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import statistics
import sys
from pathlib import Path

from cai.cli import main as cai

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
BASE = [
    *("experiment=shakespeare_speedrun", "trainer.max_steps=240", "trainer.eval_max_tokens=null"),
    *("device=cpu", "device.precision=bf16", "device.threads=1"),
]
GPT2 = ["model=gpt2_nano", "~model.block_shift"]
OTHER_SHAPE = ["~model.block_shift", "model.head_dim=64", "model.n_kv_head=1"]
CONSTANT = ["schedule=constant", "~schedule.decay_ratio", "~schedule.min_lr_ratio"]
ADAMW = ["optimizer=adamw", "~optimizer.momentum", "~optimizer.vector_lr_ratio", "optimizer.betas=[0.9,0.99]"]

VARIANTS: dict[str, list[str]] = {
    "reference": [],
    # the model
    "no_token_shift": ["model.token_shift=0"],
    "token_shift_1": ["model.token_shift=1"],
    "no_block_shift": ["model.block_shift=0"],
    "no_shift_at_all": ["model.token_shift=0", "model.block_shift=0"],
    "block_shift_1": ["model.block_shift=1"],
    "no_qk_norm": ["model.qk_norm=false"],
    "gelu": ["model.activation=gelu"],
    "no_zero_init": ["model.zero_init=false"],
    "no_softcap": ["model.logit_softcap=0"],
    "softcap_30": ["model.logit_softcap=30"],
    "value_embeddings": ["model.value_embeddings=true"],
    "tied_head": ["model.tie_weights=true"],
    "four_heads": ["model.n_head=4"],
    "dropout_0.1": ["model.dropout=0.1"],
    # the optimizer
    "ns_steps_3": ["optimizer.ns_steps=3"],
    "vector_lr_ratio_1": ["optimizer.vector_lr_ratio=1"],
    "momentum_0.95": ["optimizer.momentum=0.95"],
    "no_nesterov": ["optimizer.nesterov=false"],
    "no_weight_decay": ["optimizer.weight_decay=0"],
    "one_rate_for_all": [f"optimizer.{role}_lr_ratio=1" for role in ("embedding", "head", "vector")],
    "constant_rate": CONSTANT,
    "constant_rate_and_ema": [*CONSTANT, "trainer.ema_decay=0.97"],
    "adamw_0.003": [*ADAMW, "optimizer.lr=0.003"],
    "adamw_0.006": [*ADAMW, "optimizer.lr=0.006"],
    "adamw_0.012": [*ADAMW, "optimizer.lr=0.012"],
    "lion_0.0005": ["optimizer=lion", "~optimizer.momentum", "~optimizer.vector_lr_ratio", "optimizer.lr=5e-4"],
    "lion_0.0015": ["optimizer=lion", "~optimizer.momentum", "~optimizer.vector_lr_ratio", "optimizer.lr=1.5e-3"],
    "sgd_0.3": ["optimizer=sgd", "~optimizer.vector_lr_ratio", "optimizer.lr=0.3"],
    # other models
    "gpt2_muon": GPT2,
    "gpt2_adamw_0.003": [*GPT2, *ADAMW, "optimizer.lr=0.003"],
    "gpt2_adamw_0.006": [*GPT2, *ADAMW, "optimizer.lr=0.006"],
    "llama_muon": ["model=llama_nano", *OTHER_SHAPE],
    "qwen3_muon": ["model=qwen3_nano", *OTHER_SHAPE],
}


def main() -> None:
    text, *chosen = sys.argv[1:]
    for name in chosen or VARIANTS:
        if not runs_of(name):
            sweep = ["train", "-m", *BASE, *VARIANTS[name], f"name=ablation_{name}", f"data.path={text}"]
            if cai([*sweep, f"seed={','.join(map(str, SEEDS))}"]):
                raise SystemExit(f"{name} failed")
    record()


def runs_of(name: str) -> list[Path]:
    """Its finished runs, by seed."""
    runs = sorted(path.parent for path in Path(f"outputs/ablation_{name}").glob("*/*/run.json"))
    finished = [run for run in runs if json.loads((run / "run.json").read_text())["status"] == "finished"]
    return finished if len(finished) == len(SEEDS) else []


def record() -> None:
    """Write what can be told of the variants that have been trained."""
    rows, losses = [], {}
    shutil.rmtree(HERE / "configs", ignore_errors=True)
    (HERE / "configs").mkdir()
    for name in VARIANTS:
        for seed, run in zip(SEEDS, runs_of(name), strict=False):
            facts = json.loads((run / "run.json").read_text())
            losses.setdefault(name, []).append(facts["metrics"]["val/loss"])
            rows.append((name, seed, facts["parameters"]["total"], f"{losses[name][-1]:.4f}"))
            if seed == SEEDS[0]:
                config = re.sub(r"^  path: .*", "  path: input.txt", (run / "config.yaml").read_text(), flags=re.M)
                (HERE / "configs" / f"{name}.yaml").write_text(config)
    with (HERE / "losses.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("variant", "seed", "parameters", "val_loss"), *rows])
    base = statistics.fmean(losses["reference"])
    print("| variant | changed | val loss | spread | against the reference |\n|---|---|---|---|---|")
    for name, values in losses.items():
        mean, spread = statistics.fmean(values), max(values) - min(values)
        changed = " ".join(VARIANTS[name]) or "nothing"
        print(f"| {name} | `{changed}` | {mean:.4f} | {spread:.4f} | {mean - base:+.4f} |")


if __name__ == "__main__":
    main()
