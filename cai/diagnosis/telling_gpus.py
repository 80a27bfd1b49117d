"""What was estimated for GPUs that are not at hand, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from cai.columns import duration, pad, width
from cai.diagnosis.gpus import ASSUMED, KINDS, Kind
from cai.diagnosis.scaling import Estimate, Strategy, Workload
from cai.diagnosis.telling import Rows, size_text

BILLION = 10**9
MUCH = 0.3
"""Share of a step from which on the exchange between GPUs takes much of it."""

NOT_WITH_FP16 = "needs bf16, which it has not"
DOES_NOT_FIT = "does not fit"


def lines_of_gpus(work: Workload, processes: int, kinds: Sequence[Kind] = KINDS) -> list[str]:
    """A row for each kind of GPU and strategy."""
    strategies: tuple[Strategy, ...] = ("ddp", "fsdp") if processes > 1 else ("ddp",)
    run = [f"{work.steps:,} steps"] if work.steps is not None else []
    head = ["GPU", "strategy", "memory of one", "at once", "tokens/s of all", "exchange", "10^9 tokens", *run]
    rows, remarks = [head], [""]
    for kind in kinds:
        for strategy in strategies:
            cells, remark = _cells(work.estimate(kind, processes, strategy), work.steps)
            rows.append([kind.name if strategy == "ddp" else "", strategy if processes > 1 else "alone", *cells])
            remarks.append(remark)
    widths = [max(width(row[column]) for row in rows if column < len(row)) for column in range(len(head))]
    return [f"  {_line(row, widths)}  {remark}".rstrip() for row, remark in zip(rows, remarks, strict=True)]


def rows_of_assumptions(work: Workload, processes: int) -> Rows:
    """How large a step is, what the table rests on, and what may make it better."""
    sequences = work.sequences(processes)
    step = f"{work.tokens(processes):,} tokens ({sequences} x {work.block_size})"
    if sequences != work.batch_size:
        step += f"; trainer.batch_size={work.batch_size} cannot be shared by {processes}: train with {sequences}"
    rows = [("a step", step), ("assumed", ASSUMED)]
    found = [work.estimate(kind, processes, "ddp") for kind in KINDS]
    if any(each and each.fits and each.exchange > MUCH * each.seconds for each in found):
        rows.append(("note", "of so small a step the exchange takes much: a larger trainer.batch_size makes it matter less"))
    return rows


def _cells(estimate: Estimate | None, steps: int | None) -> tuple[list[str], str]:
    """Figures, and what stands in the place of those that there are not."""
    if estimate is None:
        return [], NOT_WITH_FP16
    memory = size_text(estimate.memory)
    if not estimate.fits:
        return [memory], DOES_NOT_FIT
    speed = float(f"{estimate.tokens_per_second:.2g}")  # no estimate knows more digits
    cells = [memory, str(estimate.micro_batch_size), f"{speed:,.0f}"]
    cells += [f"{estimate.exchange / estimate.seconds:.0%}", duration(BILLION / estimate.tokens_per_second)]
    return cells + ([duration(steps * estimate.seconds)] if steps is not None else []), ""


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, figures to the right."""
    places = enumerate(zip(row, widths, strict=False))
    return "  ".join(pad(cell, size, right=column > 1) for column, (cell, size) in places)
