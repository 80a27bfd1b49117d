"""The table of docs/scale.md: memory and tokens/s by size of model and GPU, estimated as `cai doctor` does. Nothing is run.

    python benchmarks/scale_table.py

Prints the table in Markdown, as it stands on the page; takes some seconds, needs no GPU and hardly any memory.
"""

from __future__ import annotations

from cai.composition import compose
from cai.diagnosis.gpus import ASSUMED, KINDS, Kind
from cai.diagnosis.scaling import Estimate, Strategy, Workload
from cai.diagnosis.telling import size_text

BILLION = "model.block_size=2048 model.n_layer=24 model.n_head=16 model.n_embd=2048"
SEVEN = (
    "model.block_size=2048 model.n_layer=32 model.n_head=32 model.n_kv_head=32 model.n_embd=4096 model.head_dim=128"
    " model.intermediate_size=11008 model.tie_weights=false"
)
MODELS = (
    ("`modern_mini`", "model=modern_mini optimizer=muon tokenizer.vocab_size=8000"),
    ("`llama_cai`", "model=llama_cai model.dropout=0.0 optimizer=adamw tokenizer.vocab_size=24000"),
    ("`gpt2_small`", "model=gpt2_small model.dropout=0.0 optimizer=adamw tokenizer.vocab_size=50257"),
    ("1.3 B (`gpt2`)", f"model=gpt2 {BILLION} optimizer=adamw tokenizer.vocab_size=50257"),
    ("6.7 B (`llama`)", f"model=llama {SEVEN} optimizer=adamw tokenizer.vocab_size=32000"),
)
"""Name and options. Optimizer and vocabulary are those that such models are usually trained with."""
STEP = 2**19
"""Tokens of a step, over all GPUs."""
COUNTS = (1, 8)


def workload(options: str) -> Workload:
    """A step of half a million tokens."""
    words = ["tokenizer=bpe", *options.split(), "trainer.micro_batch_size=auto"]
    block_size = compose(words).model.block_size
    return Workload(compose([*words, f"trainer.batch_size={STEP // block_size}"]))


def best(work: Workload, kind: Kind, processes: int) -> Estimate | None:
    """`ddp` where it fits, else `fsdp` where that does."""
    strategies: tuple[Strategy, ...] = ("ddp", "fsdp") if processes > 1 else ("ddp",)
    found = [work.estimate(kind, processes, strategy) for strategy in strategies]
    return next((each for each in found if each is not None and each.fits), None)


def cell(estimate: Estimate | None) -> str:
    """Tokens/s of all GPUs together, and the memory of one."""
    if estimate is None:
        return "-"
    mark = " F" if estimate.strategy == "fsdp" else ""
    return f"{rounded(estimate.tokens_per_second)} · {size_text(estimate.memory)}{mark}"


def rounded(number: float) -> str:
    """Two digits: no estimate has more. `980`, `12 k`, `3.4 M`."""
    for factor, unit in ((1e6, " M"), (1e3, " k"), (1.0, "")):
        if number >= 0.995 * factor:
            scaled = number / factor
            return f"{scaled:.1f}{unit}" if scaled < 9.95 and unit else f"{float(f'{scaled:.2g}'):.0f}{unit}"
    return f"{number:.2g}"


def row(name: str, work: Workload, processes: int) -> str:
    cells = [cell(best(work, kind, processes)) for kind in KINDS]
    return f"| {' | '.join([name, f'{work.parameters / 1e6:,.0f} M', str(processes), *cells])} |"


def table(models: tuple[tuple[str, str], ...] = MODELS) -> str:
    """Markdown."""
    head = ["model", "parameters", "GPUs", *(kind.name for kind in KINDS)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, options in models:
        work = workload(options)
        lines += [row(name, work, processes) for processes in COUNTS]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print(f"\nA step is {STEP:,} tokens. Assumed: {ASSUMED}. F: fsdp.")
    for name, options in MODELS:
        print(f"{name}: {options}")
