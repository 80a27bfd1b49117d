"""How far every export is from what it was made of: the table of docs/deploy.md.

    python benchmarks/export_exact.py [run directories ...] [--to onnx gguf]

Each model in every format and precision, opened by the program that it is for and compared as `cai export` does: the largest
difference of a logit (llama.cpp: of a log-probability), and the least share of greedy tokens that are the original's; of
tiny models with drawn weights, tied and untied, if no directory is given. Needs `pip install "cai[hf,onnx,gguf]" xllamacpp`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from measuring import report

from cai.composition import compose
from cai.config.exporting import FORMATS
from cai.config.saved import save_config
from cai.device import plain_cpu
from cai.errors import ConfigError
from cai.exchange.base import PRECISIONS, Source, format_of
from cai.exchange.check import QUESTIONS, Difference, difference
from cai.run import TOKENIZER
from cai.runs import CONFIG, read_facts
from cai.trained import TrainedRun, load_trained

TINY = ("model.n_layer=2", "model.n_head=4", "model.n_embd=32", "model.block_size=168", "tokenizer.vocab_size=400")
"""168 tokens hold the longest prompt and what is written after it."""


def drawn(family: str, tied: str) -> Source:
    """Every weight is drawn, biases and gains included."""
    config = compose([f"model={family}", f"model.tie_weights={tied}", "tokenizer=bpe", *TINY])
    tokenizer = config.tokenizer.build(text for question in QUESTIONS for text in question)
    torch.manual_seed(0)
    model = config.model.build(vocab_size=tokenizer.vocab_size)
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1 and name.endswith("weight")), std=0.2)
    return Source(Path(f"{family}_{tied}"), "best", TrainedRun(config, model.eval(), tokenizer, step=0), {})


def compared(source: Source, to: str, precision: str) -> Difference | None:
    """`None` if the format cannot say the model."""
    form = format_of(to)
    with tempfile.TemporaryDirectory() as name:
        try:
            form.refuse(source)
        except ConfigError:
            return None
        save_config(source.trained.config, Path(name, CONFIG))
        source.trained.tokenizer.save(Path(name, TOKENIZER))
        form.write(source, Path(name), precision)
        return difference(source, form.reopen(Path(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--to", nargs="+", choices=FORMATS, default=FORMATS)
    options = parser.parse_args()
    models = [Source(run, "best", load_trained(run, "best", plain_cpu()), read_facts(run)) for run in options.runs]
    models = models or [drawn(family, tied) for family in ("gpt2", "llama", "qwen3", "modern") for tied in ("true", "false")]
    of = [type(source.trained.config.model).__name__.removesuffix("Config").lower() for source in models]
    rows, figures = [["what", *dict.fromkeys(of), "by"]], {"models": [source.directory.name for source in models]}
    for precision, to in ((one, to) for one in PRECISIONS for to in options.to if one in format_of(to).PRECISIONS):
        found = [compared(source, to, precision) for source in models]
        cells = []
        for family in dict.fromkeys(of):
            some = [one for one, its in zip(found, of, strict=True) if its == family and one]
            same = min((one.same / one.written for one in some), default=0)
            cells.append(f"{max(one.logits for one in some):.1e} {same:4.0%}" if some else "refused")
        rows.append([f"{precision} {to}", *cells, next((one.by for one in found if one), "")])
        figures[f"{precision} {to}"] = [one and one._asdict() for one in found]
    report("export_exact", rows, figures)


if __name__ == "__main__":
    main()
