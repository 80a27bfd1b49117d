"""``cai inspect gradients``: the next update of a run, by parameter; the run stays as it is. (Command layer.)"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cai.changes import MEMORY, Changes, change, may_move, named_options
from cai.config.looking import InspectGradientsConfig
from cai.config.roots import TrainConfig
from cai.config.saved import load_config
from cai.errors import RunError
from cai.exports import is_export
from cai.inspect import divide
from cai.inspection.gradients import LARGE, SMALL, Gradients, Parameter, gradients_of, stiff_heads
from cai.inspection.standing import Standing, standing_at
from cai.inspection.units import BOUND, CUTTING
from cai.overrides import refuse_sweep
from cai.recorded import as_recorded
from cai.runs import CONFIG, find_run, read_run

MEANINGS = {
    "no gradient": "the loss does not depend on it: it is not used",
    "zero gradient": "nothing is learned here: what comes behind it is 0, or all units are dead",
    "not finite": "no update was taken; lower optimizer.lr, or find the operation with trainer.detect_anomaly=true",
    "all zero": "as some begin (model.zero_init); there is no ratio to nothing",
    "large update": f"a ratio above {LARGE:g}, as while weights grow from near 0; later it undoes what was learned: lower"
    " optimizer.lr",
    "small update": f"a ratio below {SMALL:g} at the peak of the learning rate: it hardly moves; raise optimizer.lr",
}


MANY = 0.1
"""Share of a function's units that may be dead without a word."""
LISTED = 8


def main(words: Sequence[str]) -> int:
    """Print the gradients, updates and dead units of a run's next step. Returns the exit code."""
    options, arguments = divide(words, "inspect_gradients", InspectGradientsConfig)
    refuse_sweep(arguments, "inspect gradients")
    directory = find_run(options.run, Path(options.output_dir).expanduser(), options.checkpoint)
    if is_export(directory):
        raise RunError(f"run must be a run, but {directory} is an export, which has no data and no optimizer to go on with.")
    saved = load_config(directory / CONFIG, TrainConfig, arguments.trusted)
    config, _ = change(saved, arguments, refusals_on_looking)
    facts = read_run(directory)
    config = as_recorded(config, facts, named_options(arguments))
    device = replace(config.device.build(), compile=False, compile_optimizer=False)  # for one update it does not pay
    device.set_up()
    print(f"({directory})", file=sys.stderr)
    cache = Path(options.output_dir).expanduser() / "cache"
    standing = standing_at(directory, options.checkpoint, config, facts, device, cache, arguments.trusted)
    print(described(gradients_of(standing.updater, standing.step), standing, options.checkpoint))
    return 0


def refusals_on_looking(changes: Changes, saved: TrainConfig) -> list[str]:
    """A sentence for each change after which it would not be this run's update."""
    return [
        f"`{path}` must stay {before} as in the run, but is {after}. Leave it out."
        for path, (before, after) in changes.items()
        if not may_move(path) and path not in MEMORY
    ]


def described(found: Gradients, standing: Standing, checkpoint: str) -> str:
    """All of it as text."""
    parts = [_head(found, standing, checkpoint), _table(found.parameters), _flagged(found.parameters)]
    return "\n\n".join(part for part in [*parts, _units(found), _stiff(found)] if part)


def _head(found: Gradients, standing: Standing, checkpoint: str) -> str:
    updater, step = standing.updater, standing.step
    clip = updater.grad_clip
    clipped = f"clipped to {clip:g}" if found.norm > clip else f"below trainer.grad_clip={clip:g}"
    clipped = clipped if clip else "not clipped"
    device = f"{updater.device.type}, {updater.device.precision}, in passes of {updater.micro_batch.size}"
    over = "; the run is over, this is the rate of its last step" if step >= standing.max_steps else ""
    rows = [
        ("checkpoint", f"{checkpoint}, {step:,} of {standing.max_steps:,} updates taken; this is the next"),
        ("batch", f"{updater.batch_size} x {updater.dataset.block_size} tokens ({device})"),
        ("loss", f"{found.loss:.4f}"),
        ("gradient", f"norm {found.norm:.4g}, {clipped}"),
        ("rate", f"{updater.lrs(step)[0]:.3g}, {found.share:.1%} of its peak{over}"),
    ]
    notes = [
        f"{standing.fresh}: the optimizer begins anew here, so that its first update, and the ratios, are others than in"
        " training; the gradients are not affected. checkpoint=last has the state."
    ] * bool(standing.fresh)
    notes += [f"{standing.others}: this is not the batch that training would take."] * bool(standing.others)
    return "\n".join([*(f"  {name:<11}{value}" for name, value in rows), *(f"note: {note}" for note in notes)])


def _table(parameters: Sequence[Parameter]) -> str:
    """A line for each parameter, those of a block under its name."""
    head = ["", "shape", "gradient mean", "std", "norm", "weight norm", "update/weight", ""]
    lines, group = [head], ""
    for parameter in parameters:
        now, short = _place(parameter.name)
        if now != group and now:
            lines.append([now, *[""] * 7])
        group = now
        figures = (parameter.mean, parameter.std, parameter.norm, parameter.weight, parameter.ratio)
        cells = ["-" if figure is None else f"{figure:.2e}" for figure in figures]
        shape = " x ".join(f"{size:,}" for size in parameter.shape) or "scalar"
        lines.append([f"{'  ' * bool(now)}{short}", shape, *cells, ", ".join(parameter.flags)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:-1]), line[-1]]).rstrip() for line in lines
    )


def _place(name: str) -> tuple[str, str]:
    """The block that a parameter is in, if it is in one, and its name there: ``layers.0`` and ``attn.q_proj.weight``."""
    found = re.match(r"(.+?\.\d+)\.(.+)", name)
    return (found[1], found[2]) if found else ("", name)


def _flagged(parameters: Sequence[Parameter]) -> str:
    """What the words behind the lines mean; that there are none, if so."""
    there = [flag for flag in MEANINGS if any(flag in parameter.flags for parameter in parameters)]
    if not there:
        return "Nothing stands out: every parameter has a finite gradient, and moves by a sensible share of its size."
    return "\n".join(f"{flag}: {MEANINGS[flag]}" for flag in there)


def _units(found: Gradients) -> str:
    if not found.units:
        return ""
    lines = [("hidden units", "function", "units", "dead", "", "active on average")]
    for one in found.units:
        dead = f"{one.dead:,}", f"{one.dead / one.size:.1%}"
        lines.append((one.module, one.function, f"{one.size:,}", *dead, f"{one.active:.1%} of the tokens"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    cutting = any(one.function in CUTTING for one in found.units)
    active = "above 0" if cutting else f"beyond {BOUND:g}"
    notes = [f"dead: active, which is {active}, for no token of this batch; another batch may wake some"]
    if any(one.dead > MANY * one.size for one in found.units):
        notes.append("Many are dead, and learn nothing. A lower optimizer.lr kills fewer.")
    return "\n".join([*table, *notes])


def _stiff(found: Gradients) -> str:
    return "\n".join(_stiff_lines(found))


def _stiff_lines(found: Gradients) -> Iterator[str]:
    """A line for each way in which heads say nothing of the text."""
    for what, heads in stiff_heads(found.heads):
        which = ", ".join(f"{head.layer}.{head.head}" for head in heads[:LISTED])
        more = f" and {len(heads) - LISTED} more" if len(heads) > LISTED else ""
        number = f"{len(heads)} of {len(found.heads)} heads (layer.head: {which}{more})"
        yield f"attention: {number} {what}"
