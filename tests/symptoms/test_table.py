"""The table itself: every row can be told, every option that it names exists, and none stands there that nobody tells."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import cai
from cai.cli import VERBS
from cai.inspect import SUBJECTS
from cai.symptoms.remedies import REMEDIES
from cai.symptoms.symptom import Symptom
from cai.symptoms.table import TABLE, tell

PACKAGE = Path(cai.__file__).parent
CONF = PACKAGE.parent / "conf"
GROUPS = ("model", "data", "tokenizer", "optimizer", "schedule", "trainer", "device", "generation")
OWN = {"batch_size", "highest", "stage", "output_dir", "run", "doc", "prompt", "question", "file", "out"}
"""Options outside of the groups: each verb's own."""

SECTIONS = {
    "A checkpoint does not load",
    "A run fails",
    "CUDA out of memory",
    "Generation is too slow",
    "Korean falls into pieces",
    "MPS lacks an operator",
    "MPS out of memory",
    "Many unknown tokens",
    "Only one form comes out well",
    "The computer's memory runs out",
    "The disk is full",
    "The loss does not fall",
    "The loss is NaN or infinite",
    "The text repeats itself",
    "The text wanders",
    "The tokenizer is missing",
    "Too little data",
    "Training is too slow",
    "[ANSWER] is not closed",
}


def keys_of(tree: object, place: str) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{place}.{key}"
            yield from keys_of(value, f"{place}.{key}")


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every group, dotted."""
    found = set(OWN)
    for group in GROUPS:
        for path in (CONF / group).rglob("*.yaml"):
            found |= set(keys_of(yaml.safe_load(path.read_text(encoding="utf-8")), group))
    return found


def unknown(text: str, options: set[str]) -> set[str]:
    """What ``text`` names that is not there: options, choices of a group, verbs and subjects."""
    groups = "|".join(GROUPS)
    wrong = {name for name in re.findall(rf"\b((?:{groups})(?:\.\w+)+)", text) if name not in options | {"tokenizer.json"}}
    for group, choice in re.findall(rf"(?<![\w.])({groups})=([\w.]+\w|\w)", text):
        wrong |= set() if list((CONF / group).glob(f"{choice.replace('...', '*')}.yaml")) else {f"{group}={choice}"}
    wrong |= {name for name in re.findall(r"(?<![\w.])([a-z]\w*)=", text) if name not in {*GROUPS, *options}}
    for verb, subject in re.findall(r"`?\bcai (\w+)(?: (\w+))?", text):
        known = verb in VERBS and (verb != "inspect" or subject in SUBJECTS)
        wrong |= set() if known else {f"cai {verb} {subject}"}
    return wrong


@pytest.mark.parametrize("name", TABLE)
def test_a_row_names_only_what_exists(name: str, options: set[str]) -> None:
    assert unknown(" ".join(TABLE[name][:2]), options) == set()
    assert TABLE[name].section in SECTIONS


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_names_only_what_exists(name: str, options: set[str]) -> None:
    assert unknown(REMEDIES[name], options) == set()


@pytest.mark.parametrize(
    "text",
    [
        "Try trainer.max_step=5.",
        "data.clean.dupes=exact",
        "Try generation=brave.",
        "`cai inspect rates`",
        "cai fly",
        "batch=3",
    ],
)
def test_what_does_not_exist_is_noticed(text: str, options: set[str]) -> None:
    assert unknown(text, options)


def test_every_row_and_every_remedy_is_told_by_somebody() -> None:
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "remedies.py" and not path.name.startswith("rows_of")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = [*TABLE, *REMEDIES]
    made = {"penalty_or_no_ngram"} | {name for name in names if name.startswith("bound_by_")}  # put together of parts
    assert [name for name in names if f'"{name}"' not in code and name not in made] == []


def test_a_row_is_filled_in_with_its_remedy_and_a_missing_fact_is_noticed() -> None:
    told = tell("split", "larger_vocabulary", share=0.25, size=400, asked=400, twice=800)
    assert told.name == "split"
    assert told.sentence.startswith("25% of the Hangul syllables are split")
    assert told.sentence.endswith("Try a larger tokenizer.vocab_size (800), or more Korean text.")
    with pytest.raises(KeyError):
        tell("split", "larger_vocabulary", share=0.25)
    with pytest.raises(KeyError):
        tell("split", share=0.25)  # its remedy depends


def test_every_row_says_what_is_seen_and_helps() -> None:
    for row in TABLE.values():
        assert isinstance(row, Symptom)
        assert row.seen
        assert row.helps
        assert all(field is None or field.isidentifier() for _, field, _, _ in string.Formatter().parse(" ".join(row[:2])))
