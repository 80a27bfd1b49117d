"""Whether a comparison is fair: everything beside the options in which runs are not alike, and what that spoils."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence

from cai.comparison.history import whole
from cai.comparison.runs import RunRecord, tokens_per_step

Key = Callable[[RunRecord], str | None]

SAME_BUDGET = 1.01
"""Budgets this much apart count as one: whole batches of another size do not come out equal."""


def losses_compare(runs: Sequence[RunRecord]) -> bool:
    """Whether a loss per token of one of ``runs`` can stand beside another's: one tokenizer, one text."""
    return all(len(_prints(runs, name)) < 2 for name in ("tokenizer", "corpus"))


def warnings_of(runs: Sequence[RunRecord]) -> list[str]:
    """A sentence for each reason why figures of ``runs`` should not be compared as they stand."""
    checks = (_data, _tokenizer, _validation, _evaluations, _budget, _answers, _code, _precision, _machine, _unfinished)
    return [sentence for check in checks for sentence in check(runs)]


def _data(runs: Sequence[RunRecord]) -> Iterator[str]:
    if len(kinds := _prints(runs, "corpus")) > 1:
        yield (
            f"other data ({_told(kinds)}; fingerprints of the corpus in run.json): each is scored on its own text, and they"
            " are ranked by bits per byte; some text is harder than other all the same. Train them on the same data."
        )


def _tokenizer(runs: Sequence[RunRecord]) -> Iterator[str]:
    if len(kinds := _prints(runs, "tokenizer")) > 1:
        yield (
            f"other tokenizers ({_told(kinds)}; fingerprints in run.json): a loss is per token, so only bits per byte are"
            " compared."
        )


def _validation(runs: Sequence[RunRecord]) -> Iterator[str]:
    for path, what in (
        ("trainer.eval_max_tokens", "on other amounts of the validation text"),
        ("data.loss", "on other tokens of the validation text"),
        ("data.packing", "in other rows of the validation text"),
        ("data.isolate", "with other tokens in sight"),
        ("model.block_size", "in rows of another length, and more context alone lowers them"),
    ):
        if len(kinds := _kinds(runs, _option(path))) > 1:
            yield f"{path} is {_told(kinds)}: the losses are measured {what}. Give all runs the same {path}."


def _evaluations(runs: Sequence[RunRecord]) -> Iterator[str]:
    if len(kinds := _kinds(runs, _option("trainer.eval_every"))) > 1:
        yield (
            f"trainer.eval_every is {_told(kinds)}: the lowest of more evaluations is lower by chance. Give all runs the"
            " same, or compare the newest losses: sort=val_loss"
        )


def _budget(runs: Sequence[RunRecord]) -> Iterator[str]:
    budgets = {run: budget for run in runs if (budget := _planned_tokens(run))}
    if not budgets:
        return
    least, most = min(budgets, key=budgets.__getitem__), max(budgets, key=budgets.__getitem__)
    if budgets[most] > SAME_BUDGET * budgets[least]:
        yield (
            f"other token budgets (from {budgets[least]:,} tokens, {least.name}, to {budgets[most]:,}, {most.name}): more"
            " tokens give a lower loss. The curves by tokens in report.html show both at the same number."
        )


def _answers(runs: Sequence[RunRecord]) -> Iterator[str]:
    answered = [run for run in runs if any(tag.startswith("answers/") for tag in run.history.columns)]
    if len(kinds := _kinds(answered, _option("trainer.answers"))) > 1:
        yield (
            f"trainer.answers is {_told(kinds)}: shares answers/* are of other numbers of questions. Ask all the same, with:"
            " cai evaluate run=<directory> answers=<number>"
        )


def _code(runs: Sequence[RunRecord]) -> Iterator[str]:
    for what, key in (
        ("other code", _code_of),
        ("other versions of CAI", lambda run: run.facts.get("versions", {}).get("cai")),
        ("other versions of PyTorch", lambda run: run.facts.get("versions", {}).get("torch")),
    ):
        if len(kinds := _kinds(runs, key)) > 1:
            yield f"{what} ({_told(kinds)}): it may compute something else from the same options. Train all with one."


def _precision(runs: Sequence[RunRecord]) -> Iterator[str]:
    if len(kinds := _kinds(runs, lambda run: run.facts.get("device", {}).get("precision"))) > 1:
        yield f"other precision ({_told(kinds)}): losses and tokens/s differ by that alone. Give all one device.precision."


def _machine(runs: Sequence[RunRecord]) -> Iterator[str]:
    measured = [run for run in runs if run.tokens_per_sec is not None]
    if len(kinds := _kinds(measured, _machine_of)) > 1:
        yield f"other machines ({_told(kinds)}): tokens/s and time are not comparable."


def _unfinished(runs: Sequence[RunRecord]) -> Iterator[str]:
    kinds = _kinds(runs, lambda run: None if run.status == "finished" else run.status)
    count = sum(map(len, kinds.values()))
    if count:
        remedy = " Go on with: cai resume <directory>" if kinds.keys() - {"pruned", "running"} else ""
        yield (
            f"{count} of {len(runs)} runs {'is' if count == 1 else 'are'} not finished ({_told(kinds)}): ranked behind those"
            f" that are, with what they have reached.{remedy}"
        )


def unequal_seeds(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """A sentence if means are over other numbers of seeds. ``groups``: of each, the runs that its mean is over."""
    kinds: dict[str, list[RunRecord]] = {}
    for group in groups:
        if group[0].status == "finished":
            kinds.setdefault(f"{len(group)} seed{'s' * (len(group) != 1)}", []).append(group[0])
    if len(kinds) < 2:
        return []
    return [
        f"other numbers of seeds ({_told(kinds, 'groups')}): the mean of few is more often far off than that of many,"
        " and so first or last. Train all with the same seeds."
    ]


def _planned_tokens(run: RunRecord) -> int | None:
    """What it trains on unless it is stopped: early stopping and pruning save some of the same budget."""
    planned = whole(run.facts.get("max_steps"))
    return run.tokens if planned is None else planned * tokens_per_step(run.options)


def _code_of(run: RunRecord) -> str | None:
    """The commit, with a hash of what was changed in its Python files; outside of a checkout a hash of CAI's files."""
    code = run.facts.get("code", {})
    if not code.get("commit"):
        return f"files {code['sources']}" if "sources" in code else None
    commit = f"commit {code['commit'][:9]}"
    files = re.split(r"^(?=diff --git )", code.get("diff") or "", flags=re.M)
    edited = [file for file in files if file.partition("\n")[0].endswith(".py")]  # YAMLs and records are not what computes
    new = sorted((name, str(digest)) for name, digest in code.get("untracked", {}).items() if name.endswith(".py"))
    if not edited and not new:
        return commit
    digest = hashlib.sha256(json.dumps([edited, new]).encode()).hexdigest()
    return f"{commit} with changes {digest[:6]}"


def _machine_of(run: RunRecord) -> str | None:
    machine, device = run.facts.get("machine"), run.facts.get("device")
    if not machine or not device:
        return None
    threads, processors = device.get("threads"), machine.get("cpu_count")
    return (
        f"{device.get('type')}, {machine.get('processor')}, {processors} processors, {threads} thread{'s' * (threads != 1)},"
        f" {machine.get('system')}"
    )


def _prints(runs: Sequence[RunRecord], name: str) -> dict[str, list[RunRecord]]:
    """The runs of each fingerprint; none if the token ids of all are the same, which decides: another CAI may give the same
    text another fingerprint.
    """
    kinds, ids = _kinds(runs, _fingerprint(name)), _kinds(runs, _fingerprint("ids"))
    same = len(ids) == 1 and sum(map(len, ids.values())) == sum(map(len, kinds.values()))
    return {} if same else kinds


def _fingerprint(name: str) -> Key:
    return lambda run: run.facts.get("fingerprints", {}).get(name)


def _option(path: str) -> Key:
    return lambda run: None if path not in run.options else str(run.options[path])


def _kinds(runs: Sequence[RunRecord], key: Key) -> dict[str, list[RunRecord]]:
    """The runs of each value of ``key``; those without one are in none."""
    kinds: dict[str, list[RunRecord]] = {}
    for run in runs:
        if (value := key(run)) is not None:
            kinds.setdefault(str(value), []).append(run)
    return kinds


def _told(kinds: dict[str, list[RunRecord]], noun: str = "runs") -> str:
    """How many runs each value has, and one of them by name; the most frequent first, at most four."""
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    parts = [f"{value} in {_count(runs, noun)}" for value, runs in ordered[:4]]
    return ", ".join([*parts, *[f"{len(ordered) - 4} more"] * (len(ordered) > 4)])


def _count(runs: Sequence[RunRecord], noun: str) -> str:
    return runs[0].name if len(runs) == 1 else f"{len(runs)} {noun} such as {runs[0].name}"
