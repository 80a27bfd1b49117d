"""Makes this record out of a sweep directory: configs/, losses.csv and plot.svg. Needs matplotlib.

python experiments/depth_and_rate/make.py outputs/depth_and_rate/<date_time>
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from cai.config.roots import TrainConfig
from cai.config.saved import load_config

HERE = Path(__file__).parent
STYLES = {4: "-", 6: "--"}


def main() -> None:
    rows = []
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    (HERE / "configs").mkdir(exist_ok=True)
    for run in sorted(path.parent for path in Path(sys.argv[1]).glob("*/run.json")):
        shutil.copyfile(run / "config.yaml", HERE / "configs" / f"{run.name}.yaml")
        config = load_config(run / "config.yaml", TrainConfig)
        depth, rate = config.model.n_layer, config.optimizer.lr  # type: ignore[attr-defined]
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        validation = [(line["step"], line["val/loss"], line["val/bits_per_byte"]) for line in lines if "val/loss" in line]
        rows += [(depth, rate, *values) for values in validation]
        axes.plot(
            *zip(*[values[:2] for values in validation], strict=True), STYLES[depth], label=f"{depth} layers, lr {rate:g}"
        )
    with (HERE / "losses.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("n_layer", "lr", "step", "val_loss", "val_bits_per_byte"), *rows])
    axes.set(xlabel="step", ylabel="validation loss (nats per token)")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(HERE / "plot.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
