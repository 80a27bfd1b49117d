"""Whatever makes a comparison unfair is said, and nothing is said about a fair one."""

from __future__ import annotations

from typing import Any

import pytest

from cai.comparison.fairness import losses_compare, warnings_of
from tests.comparison.making import FACTS, record


def prints(**changed: str) -> dict[str, Any]:
    return {"fingerprints": FACTS["fingerprints"] | changed}


def device(**changed: Any) -> dict[str, Any]:
    return {"device": FACTS["device"] | changed}


def machine(**changed: Any) -> dict[str, Any]:
    return {"machine": FACTS["machine"] | changed}


def code(**changed: Any) -> dict[str, Any]:
    return {"code": FACTS["code"] | changed}


def versions(**changed: Any) -> dict[str, Any]:
    return {"versions": FACTS["versions"] | changed}


DIFF = "diff --git a/cai/losses.py b/cai/losses.py\n--- a/cai/losses.py\n+++ b/cai/losses.py\n@@ -1 +1 @@\n-a\n+x"
NONE = {"max_steps": None, "steps": None, "seconds": None}


def test_nothing_is_said_where_all_is_fair() -> None:
    runs = [record("a"), record("b", optimizer__lr=0.1, seed=2, model__n_layer=8), record("c", seed=3)]
    assert warnings_of(runs) == []
    assert warnings_of(runs[:1]) == []
    assert warnings_of([]) == []


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        ({"facts": prints(corpus="c1", ids="i1")}, ["other data", "c0 in 2 runs such as a", "c1 in b", "bits per byte"]),
        (
            {"facts": prints(tokenizer="t1", ids="i1")},
            ["other tokenizers", "t0 in 2 runs such as a", "t1 in b", "only bits per byte"],
        ),
        ({"trainer__eval_max_tokens": 4096}, ["trainer.eval_max_tokens is null in 2 runs such as a, 4096 in b", "amounts"]),
        ({"data__loss": "answer"}, ["data.loss is all in 2 runs such as a, answer in b"]),
        ({"data__packing": "documents"}, ["data.packing"]),
        ({"data__isolate": True}, ["data.isolate is False in 2 runs such as a, True in b", "in sight"]),
        ({"trainer__eval_every": 2}, ["trainer.eval_every is 3 in 2 runs such as a, 2 in b", "sort=val_loss"]),
        ({"model__block_size": 64, "trainer__batch_size": 2}, ["model.block_size is 32 in 2 runs such as a, 64 in b"]),
        (
            {"facts": code(commit="fedcba9876543")},
            ["other code (commit 012345678 in 2 runs such as a, commit fedcba987 in b)"],
        ),
        ({"facts": code(dirty=True, diff=DIFF)}, ["other code", "commit 012345678 with changes"]),
        ({"facts": code(dirty=True, untracked={"cai/new.py": "aa"})}, ["other code", "commit 012345678 with changes"]),
        ({"facts": {"code": {"commit": None, "sources": "aa"}}}, ["other code", "files aa in b"]),
        ({"facts": versions(cai="2")}, ["other versions of CAI (1 in 2 runs such as a, 2 in b)"]),
        ({"facts": versions(torch="2.14")}, ["other versions of PyTorch (2.13 in 2 runs such as a, 2.14 in b)"]),
        ({"facts": {"max_steps": 12}}, ["other token budgets", "from 768 tokens, a, to 1,536, b", "report.html"]),
        ({"trainer__batch_size": 8}, ["other token budgets"]),
        (
            {"facts": device(precision="bf16")},
            ["other precision", "fp32 in 2 runs such as a", "bf16 in b", "device.precision"],
        ),
        ({"facts": machine(cpu_count=64)}, ["other machines", "2 processors", "64 processors", "tokens/s"]),
        ({"facts": machine(system="Darwin")}, ["other machines", "Linux-6", "Darwin"]),
        ({"facts": device(threads=2)}, ["other machines", "1 thread,", "2 threads,"]),
        ({"facts": device(type="cuda")}, ["other machines", "cuda"]),
        ({"status": "failed"}, ["1 of 3 runs is not finished", "failed in b", "cai resume"]),
        ({"status": "pruned"}, ["1 of 3 runs is not finished", "pruned in b"]),
    ],
)
def test_one_thing_that_is_not_alike_is_one_sentence(other: dict[str, Any], parts: list[str]) -> None:
    (said,) = warnings_of([record("a"), record("b", **other), record("c", seed=2)])
    assert all(part in said for part in parts), said
    assert said.startswith(parts[0])
    assert "  " not in said


def test_what_is_on_the_way_is_not_told_to_be_resumed() -> None:
    (said,) = warnings_of([record("a"), record("b", status="running"), record("c", status="pruned")])
    assert said.startswith("2 of 3 runs are not finished (running in b, pruned in c)")
    assert "resume" not in said


def test_answers_to_other_numbers_of_questions_are_told_apart_where_there_are_any() -> None:
    runs = [record(name, columns={"answers/tel": 0.5}, trainer__answers=count) for name, count in (("a", 200), ("b", 50))]
    (said,) = warnings_of([*runs, record("c", trainer__answers=7)])
    assert "trainer.answers is 200 in a, 50 in b" in said
    assert warnings_of([record("a", trainer__answers=1), record("b", trainer__answers=2)]) == []


def test_a_run_stopped_early_had_the_same_budget() -> None:
    assert warnings_of([record("a"), record("b", facts={"steps": 3}, trainer__patience=1)]) == []


def test_budgets_that_nearly_agree_are_one() -> None:
    runs = [record("a", facts={"max_steps": 1000}), record("b", facts={"max_steps": 995})]
    assert warnings_of(runs) == []


def test_a_run_of_which_nothing_is_known_yet_is_not_unlike_the_others() -> None:
    waiting = record("b", None, status="waiting", facts={key: {} for key in FACTS} | NONE)
    (said,) = warnings_of([record("a"), waiting])
    assert said.startswith("1 of 2 runs is not finished (waiting in b)")


def test_the_same_token_ids_are_the_same_data_whatever_their_fingerprints() -> None:
    runs = [record("a"), record("b", facts=prints(corpus="of another CAI", tokenizer="of another CAI"))]
    assert warnings_of(runs) == []
    assert losses_compare(runs)
    unknown = record("c", facts={"fingerprints": {"corpus": "c1", "tokenizer": "t0"}})
    assert not losses_compare([*runs, unknown])


def test_many_values_are_not_all_listed() -> None:
    runs = [record(f"r{number}", facts=prints(tokenizer=f"t{number}", ids=f"i{number}")) for number in range(9)]
    (said,) = warnings_of(runs)
    assert "t3 in r3, 5 more;" in said


def test_other_changes_to_one_commit_are_other_code() -> None:
    runs = [record(diff[-2:], facts=code(dirty=True, diff=diff)) for diff in (DIFF, DIFF, DIFF.replace("+x", "+y"))]
    (said,) = warnings_of(runs)
    assert said.startswith("other code (commit 012345678 with changes ")
    assert warnings_of(runs[:2]) == []
    record_of_one = {
        "diff": DIFF.replace(".py", ".md"),
        "untracked": {"experiments/depth/README.md": "aa", "conf/x.yaml": "b"},
    }
    assert warnings_of([record("a"), record("b", facts=code(dirty=True, **record_of_one))]) == []
