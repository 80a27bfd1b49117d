"""What ``cai inspect checkpoint`` says of a file's contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cai.columns import binary, duration, one_line
from cai.comparison.history import number, whole
from cai.inspection.checkpoint import AVERAGE, RANDOM, WEIGHTS, Contents, Figures, Tensors, figures_of
from cai.inspection.lines import aligned

MOST = 10
"""Names in a list of what is wrong."""


def rows_of_file(contents: Contents) -> list[tuple[str, str]]:
    """Names and sentences: what it is, how far it had come, and whether its numbers are sound."""
    state = contents.state
    rows = [("file", _file(contents)), ("holds", _holds(contents))]
    if contents.is_checkpoint:
        rows += [("step", _step(state)), *_learning(state), *_model(state)]
    tied, wrong = contents.tied(), contents.nonfinite()
    more = f", and {len(wrong) - MOST} more" * (len(wrong) > MOST)
    rows += [("tied", one_line(tied))] * bool(tied)
    rows.append(("NOT FINITE", one_line("; ".join(wrong[:MOST])) + more) if wrong else ("finite", "every number is"))
    return rows


def table_of_parts(contents: Contents) -> list[str]:
    """A line for each part: tensors, numbers, bytes, types, norm."""
    rows = [("part", "tensors", "numbers", "size", "norm", "type")]
    for name, tensors in contents.parts.items():
        real = [tensor.double() for tensor in tensors.values() if tensor.is_floating_point() and tensor.ndim]
        norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in real]))) if real else 0
        rows.append(
            (
                one_line(name),
                f"{len(tensors):,}",
                f"{sum(tensor.numel() for tensor in tensors.values()):,}",
                binary(sum(tensor.nbytes for tensor in tensors.values())),
                f"{norm:.4g}" if real and name != RANDOM else "",
                types_of(tensors),
            )
        )
    return aligned(rows, left=(0, 5))


def table_of_modules(weights: Tensors, about: str = "") -> list[str]:
    """A line for each module with weights, its own; ``about`` says which weights they are, if that is not plain."""
    rows: list[tuple[str, ...]] = [(f"module {about}".strip(), "shape", "norm", "mean", "std", "largest")]
    rows += [_row(figures) for figures in figures_of(weights)]
    return aligned(rows, left=(0, 1))


def distance_of_average(contents: Contents) -> str:
    """How far the moving average is from the weights, as a sentence; empty if there is none."""
    if not (average := contents.parts.get(AVERAGE)):
        return ""
    weights = contents.parts[WEIGHTS]
    pairs = [(weights[name].double(), mean.double()) for name, mean in average.items() if name in weights]
    apart = sum(float((one - other).square().sum()) for one, other in pairs) ** 0.5
    norm = sum(float(one.square().sum()) for one, _ in pairs) ** 0.5
    return f"they are {apart / norm:.2%} of the last weights' norm away from these" if norm else ""


def types_of(tensors: Tensors) -> str:
    """The types of numbers, each once."""
    return ", ".join(dict.fromkeys(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()))


def _row(figures: Figures) -> tuple[str, ...]:
    shapes = {name: " x ".join(map(str, tensor.shape)) or "one" for name, tensor in figures.tensors.items()}
    several = len(shapes) > 1
    if several and len(set(shapes.values())) == 1:
        shown = f"{len(shapes)} of {next(iter(shapes.values()))}"
    else:
        shown = ", ".join(f"{name} {shape}" if several else shape for name, shape in shapes.items())
    cells = f"{figures.norm:.4g}", f"{figures.mean:+.1e}", f"{figures.std:.3g}", f"{figures.largest:.3g}"
    return one_line(figures.module), one_line(shown), *cells


def _file(contents: Contents) -> str:
    """Size, format, and whether it is as it was written."""
    if not contents.is_checkpoint:
        return f"{binary(contents.size)}, not a checkpoint of CAI's: without a checksum, so nobody can tell if it is whole"
    written = contents.state.get("format")
    checksum = "the checksum over every byte is right" if written != 1 else "of before there were checksums"
    return f"{binary(contents.size)}, a checkpoint of format {written}; {checksum}"


def _holds(contents: Contents) -> str:
    if not contents.is_checkpoint:
        return "weights"
    if "sizes" not in contents.state:
        return "weights alone: what a run is used by"
    return "all that a run goes on from, to the bit (cai resume)"


def _step(state: Mapping[str, Any]) -> str:
    """How far it had come, as far as it says."""
    step, last, tokens = (whole(state.get(key)) for key in ("step", "max_steps", "tokens"))
    best, at = number(state.get("best_val_loss")), whole(state.get("best_step"))
    said = ["unknown" if step is None else f"{step:,}" + (f" of {last:,}" if last else "")]
    said += [f"{tokens:,} tokens"] if tokens else []
    said += [f"{duration(seconds)} of updates"] if (seconds := number(state.get("seconds"))) else []
    said += [f"best val loss {best:.4f} at step {at or 0:,}"] if best is not None else []
    if worse := whole(state.get("evals_without_improvement")):
        said.append(f"{worse} evaluation{'s' * (worse > 1)} since without a better one")
    return ", ".join(said)


def _learning(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What of the optimizer and the trainer is no tensor."""
    groups = [group for group in _list(state.get("groups")) if isinstance(group, dict)]
    if not groups:
        return []
    rates = [f"{rate:.3g}" for group in groups if (rate := number(group.get("lr"))) is not None]
    decays = [f"{decay:g}" for group in groups if (decay := number(group.get("weight_decay"))) is not None]
    said = [f"{len(groups)} groups of parameters: learning rate {', '.join(rates)}; weight decay {', '.join(decays)}"]
    said += [f"{size} sequences at once"] if (size := whole(state.get("micro_batch_size"))) else []
    said += [f"{skipped} updates were skipped"] if (skipped := whole(state.get("skipped"))) else []
    scaler = state.get("scaler")
    scale = number(scaler.get("scale")) if isinstance(scaler, dict) else None
    said += [f"loss scale {scale:g}"] if scale is not None else []
    return [("learning", "; ".join(said))]


def _model(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The options that it was built from."""
    options = state.get("model")
    if not isinstance(options, dict) or not options:
        return []
    plain = {name: value for name, value in options.items() if isinstance(value, str | bool) or number(value) is not None}
    said = [f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in plain.items()]
    return [("model", one_line(", ".join(said)))]


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []
