"""What the two tasks of ``tasks/`` ask, and how answers are scored; named in their YAMLs. Importing it registers ``cai``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from datasets import Dataset

import cai.harness.model  # noqa: F401 - so that lm-eval's own program knows it when it is given a task by its path
from cai.data.cases import Case, read_cases, whole_answer
from cai.data.contacts.examples import ALL
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.unseen.examples import SEED, unseen_examples
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from cai.errors import DataError
from cai.evaluation.answers import score
from cai.files import write_whole
from cai.markup import parse_tags, plain_text, prompt_parts

Docs = dict[str, Dataset]
"""The documents of each split."""


def questions(questions: str | None = None, count: int = 200, **_: object) -> Docs:
    """The cases of a JSONL file (``cai.data.cases.read_cases``), or ``count`` of the embedded world no model has seen."""
    if questions is None:
        return _test([_document(_case(record), "the embedded questions") for record in unseen_questions(count)])
    cases = enumerate(read_cases(Path(questions).expanduser()), start=1)
    return _test([_document(case, f"{questions}, case {number}") for number, case in cases])


def texts(text: str | None = None, count: int = 200, **_: object) -> Docs:
    """A UTF-8 file as one document, or the documents of ``count`` embedded questions. NFC, as all that models read."""
    if text is None:
        return _test([{"text": example.document} for example in unseen_examples(count)])
    path = Path(text).expanduser()
    try:
        whole = normalize("NFC", path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a text file in UTF-8, but cannot be read: {error}. Give another.") from error
    if not whole:
        raise DataError(f"{path} must hold text, but is empty. Give another.")
    return _test([{"text": whole}])


def judge(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The scores that apply to a case, each 0 or 1; those of ``cai evaluate``."""
    case = Case(
        parse_tags(document["prompt"]), document["document"], {}, document["refuses"], tuple(json.loads(document["answers"]))
    )
    judgement = score(case, whole_answer(case.prompt, results[0]), closed=True)
    found = {
        "contains_answer": judgement.holds_answer,
        "refuses_rightly": judgement.refusal,
        "invents_nothing": not judgement.invented,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def unseen_questions(count: int) -> list[dict[str, Any]]:
    """Of the first ``count`` embedded questions those that ask for one thing, as objects that ``read_cases`` reads."""
    records = []
    for index, example in enumerate(unseen_examples(count)):
        if example.asked == ALL:
            continue  # no single text is the answer
        facts = make_organisation(index, SEED, EVALUATION_TABLES).facts()
        answers = [facts[example.asked]] if example.answerable else []
        assert all(answer in example.document for answer in answers)
        records.append({"question": example.question, "context": example.document, "answers": answers})
    return records


def write_questions(path: Path, count: int) -> None:
    """``unseen_questions`` as JSONL."""
    write_whole(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in unseen_questions(count)))


def _case(record: Mapping[str, Any]) -> Case:
    prompt = prompt_parts(record["question"], record["context"])
    return Case(prompt, record["context"], {}, refuses=not record["answers"], answers=tuple(record["answers"]))


def _document(case: Case, where: str) -> dict[str, Any]:
    """A case as lm-eval holds it, in which a prompt can only be a string."""
    prompt = plain_text(case.prompt)
    if list(map(type, parse_tags(prompt))) != list(map(type, case.prompt)):
        raise DataError(
            f"{where} must not spell a tag such as [DOC] in question or context, which lm-eval's prompts cannot tell from a"
            " real one. Take it out, or use: cai evaluate file=..."
        )
    # Answers as JSON: the library guesses the types of a column, and cannot if all of its lists are empty.
    answers = json.dumps(case.answers, ensure_ascii=False)
    return {"prompt": prompt, "document": case.document, "refuses": case.refuses, "answers": answers}


def _test(documents: Iterable[Mapping[str, Any]]) -> Docs:
    return {"test": Dataset.from_list(list(documents))}
