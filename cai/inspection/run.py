"""A run on one page: how it went, what it was made of, what it left, how to go on. Everything is read as a stranger's."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cai.columns import cut, duration, one_line
from cai.comparison.commands import training_commands
from cai.comparison.history import number, whole
from cai.comparison.options import Scalar, differing_options
from cai.comparison.record import wrapped
from cai.comparison.runs import RunRecord
from cai.comparison.terminal import shown_values
from cai.entry import Entry
from cai.environment import describe_machine, describe_versions
from cai.evaluation.scores import in_short
from cai.recorded import compare_facts
from cai.run import LOG
from cai.runs import STATUS

Rows = list[tuple[str, str]]


def rows_of_time(run: RunRecord, entry: Entry) -> Rows:
    """Status, when, how long."""
    step = run.steps if run.steps is not None else entry.step
    of = f" of {entry.max_steps:,}" if entry.max_steps and entry.max_steps != step else ""
    at = "" if step is None else f", step {step:,}{of}"
    left = f", about {duration(entry.left)} left" if entry.left is not None else ""
    rows = [("status", f"{one_line(run.status)}{at}{left}")]
    started, ended = (_moment(run.facts.get(key)) for key in ("started", "ended"))
    if started:
        taken = f", {duration((ended - started).total_seconds())} from begin to end" if ended else ""
        of_updates = f", {duration(run.seconds)} of it in updates" if run.seconds and ended else ""
        rows.append(("started", f"{started:%Y-%m-%d %H:%M:%S}{taken}{of_updates}"))
    for one in run.facts.get("resumed", []):
        changed = ", ".join(f"{path}={value}" for path, value in one.get("changed", {}).items())
        when = _moment(one.get("at"))
        said = [f"at step {whole(one.get('step')) or 0:,}", f"{when:%Y-%m-%d %H:%M:%S}" if when else "", changed]
        rows.append(("resumed", one_line(", ".join(filter(None, said)))))
    return rows


def commands_before(run: RunRecord) -> list[str]:
    """The commands that made it, ready to paste, and where they were typed."""
    cwd = run.facts.get("cwd")
    place = f" in {one_line(cwd)}" if isinstance(cwd, str) else ""
    lines = [line for words in training_commands([run]) for line in wrapped(list(map(one_line, words))).splitlines()]
    return [f"Made{place} by:", *(f"  {line}" for line in lines)]


def rows_of_origin(run: RunRecord) -> Rows:
    """Its code, versions, machine and device."""
    rows = [("code", _code(run.facts.get("code", {})))]
    versions = run.facts.get("versions", {})
    named = [f"{name} {versions[name]}" for name in ("cai", "python", "torch") if name in versions]
    rows.append(("versions", one_line(", ".join(named) or "not recorded")))
    now = {"versions": describe_versions(), "machine": describe_machine()}
    before = {key: run.facts.get(key, {}) for key in now}
    others = [f"{fact.name} {fact.now}, then {fact.before}" for fact in compare_facts(before, now) if not fact.same]
    rows += [("here and now", one_line("; ".join(others)))] * bool(others and named)
    device, machine = run.facts.get("device", {}), run.facts.get("machine", {})
    threads = whole(device.get("threads"))
    said = [device.get("type"), device.get("precision"), f"{threads} thread{'s' * (threads != 1)}" if threads else None]
    said += [f"on {machine['processor']} with {machine.get('cpu_count', '?')} CPUs"] if "processor" in machine else []
    rows.append(("device", one_line(", ".join(str(one) for one in said if one)) or "none yet"))
    return rows


def rows_of_matter(run: RunRecord) -> Rows:
    """Data, tokenizer and model."""
    prints = run.facts.get("fingerprints", {})
    said = [f"{name} {prints[key]}" for key, name in (("corpus", "corpus"), ("ids", "token ids")) if key in prints]
    rows = [("data", one_line(", ".join([_class(run, "data"), *said, *["not read yet"] * (not said)])))]
    about = run.facts.get("tokenizer")
    about = about if isinstance(about, dict) else {}
    size, asked, per_token = (number(about.get(key)) for key in ("vocab_size", "vocab_size_asked", "bytes_per_token"))
    words = [_class(run, "tokenizer")]
    words += [f"fingerprint {prints['tokenizer']}"] if "tokenizer" in prints else []
    words += [f"vocabulary {size:,}{f' of {asked:,} asked for' if asked not in (None, size) else ''}"] if size else []
    words += [f"{per_token:.2f} bytes per token"] if per_token else []
    rows.append(("tokenizer", one_line(", ".join(words))))
    parameters = run.facts.get("parameters", {})
    computing = whole(parameters.get("without_embeddings"))
    sizes = [f"{run.parameters:,} parameters"] if run.parameters is not None else []
    sizes += [f"{computing:,} without embeddings"] if computing is not None else []
    rows.append(("model", one_line(", ".join([_class(run, "model"), *sizes]))))
    return rows


def rows_of_result(run: RunRecord) -> Rows:
    """How much it has learned, from how much."""
    rows: Rows = []
    speed = f", {run.tokens_per_sec:,.0f} tokens/s" if run.tokens_per_sec else ""
    memory = number(run.facts.get("metrics", {}).get("perf/memory_gib")) or run.history.last("perf/memory_gib")
    speed += f", {memory:.2f} GiB of memory" if memory else ""
    per = f" ({run.tokens / run.parameters:.2g} for each parameter)" if run.tokens and run.parameters else ""
    rows += [("trained on", f"{run.tokens:,} tokens{per}{speed}")] if run.tokens is not None else []
    if run.best_val_loss is not None:
        bits = f", {run.best_bits_per_byte:.3f} bits per byte" if run.best_bits_per_byte is not None else ""
        at = f" at step {run.best_step:,}" if run.best_step is not None else ""
        rows.append(("best", f"val loss {run.best_val_loss:.4f}{at}{bits}"))
    if run.val_loss is not None and run.val_loss != run.best_val_loss:
        bits = f", {run.bits_per_byte:.3f} bits per byte" if run.bits_per_byte is not None else ""
        rows.append(("last", f"val loss {run.val_loss:.4f}{bits}"))
    figures = {tag: value for tag in run.history.columns if (value := run.history.last(tag)) is not None}
    answers = in_short({**run.facts.get("metrics", {}), **figures})
    return rows + [("answers", answers)] * bool(answers)


def rows_of_error(run: RunRecord) -> Rows:
    """Why it failed, and where the rest of it stands."""
    if not run.error:
        return []
    first = cut(one_line(run.error.strip().splitlines()[0] if run.error.strip() else run.error), 400)
    where = [f"{name}" for name in (LOG,) if (run.directory / name).is_file()]
    where += [f"{STATUS} (traceback)"] * ("traceback" in run.facts)
    return [("error", first), *[("traceback", f"in its {' and '.join(where)}")] * bool(where)]


def differing_from(defaults: Mapping[str, Scalar], run: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Each option in which a run is not as ``cai train`` is by itself today: its path, the run's value, the default."""
    for path in differing_options([defaults, run.options]):
        if path in run.options:
            ours, theirs = shown_values([run.options.get(path), defaults.get(path)], path)
            yield one_line(path.removesuffix(".class")), ours, theirs


def commands_after(run: RunRecord, entry: Entry, example: str) -> list[str]:
    """How to go on, ready to paste. ``example``: words for ``cai generate`` that suit it."""
    place = shlex.quote(str(run.directory))
    own = run.facts.get("code", {}).get("own", {})
    trust = f" trust={shlex.quote(','.join(own))}" if own else ""
    has_weights = any((run.directory / "checkpoints").glob("*.safetensors"))
    use = [f"cai generate run={place}{trust} {example}", f"cai evaluate run={place}{trust}"] * has_weights
    by_status = {
        "running": [f"cai board {shlex.quote(str(run.directory.parent))}", f"tail -f {place}/{LOG}"],
        "finished": [*use, f"cai export run={place}{trust} to=safetensors" * has_weights, f"cai reproduce {place}{trust}"],
        "waiting": [f"cai resume {shlex.quote(str(run.directory.parent))}{trust}"],
    }
    again = [f"cai resume {place}{trust}"] if entry.status != "pruned" else [f"cai resume {place}{trust} trainer.prune=null"]
    return [command for command in by_status.get(run.status, [*again, *use]) if command]


def _class(run: RunRecord, group: str) -> str:
    """The name of the YAML that a component has, as far as its class tells."""
    target = str(run.options.get(f"{group}.class", "unknown"))
    return target.rpartition(".")[0].rpartition(".")[2] or target


def _code(code: Mapping[str, Any]) -> str:
    """The commit, and what was not committed."""
    commit, diff, untracked = code.get("commit"), code.get("diff"), code.get("untracked") or {}
    if not commit:
        return one_line(f"no checkout; the package's files {code['sources']}") if code.get("sources") else "not recorded"
    dirty = [f"{len(diff.splitlines()):,} lines of a diff"] if diff else []
    dirty += [f"{len(untracked)} new files"] if untracked else []
    dirty = dirty or ["changed"] * bool(code.get("dirty"))
    own = ", ".join(f"{name} {value}" for name, value in (code.get("own") or {}).items())
    state = f"not as committed: {', '.join(dirty)}" if dirty else "as committed"
    said = [f"commit {str(commit)[:10]}, {state}"]
    return one_line("; ".join([*said, *[f"own components {own}"] * bool(own)]))


def _moment(text: object) -> datetime | None:
    """In the time of this place; ``None`` for what is no moment."""
    try:
        return datetime.fromisoformat(str(text)).astimezone()
    except (ValueError, OverflowError, OSError):
        return None
