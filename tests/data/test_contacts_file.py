"""Records of organisations as questions that documents answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cai
from cai.data.answers import ABSENT, parse_answer
from cai.data.contacts.organisations import seeded_random
from cai.data.contacts_file import ContactsFileConfig, make_example
from cai.data.report import Report
from cai.errors import DataError
from cai.markup import ANSWER, find_tag, plain_text
from tests.data.test_text import write

RECORDS: list[dict[str, Any]] = [
    {
        "name": "강남작은도서관",
        "category": "도서관",
        "tel": "02-459-8700",
        "addr": "서울특별시 강남구 자곡로3길 22",
        "web": "",
    },
    {"name": "주벨기에 대사관", "category": "대사관", "tel": "+32-2-379-21-11", "web": "https://belgium.mfa.example"},
    {"name": "120다산콜센터", "category": "긴급전화", "tel": "120", "tel_alt": []},
    {"name": "Office (Tulsa)", "category": "office", "tel": "405-246-0025", "addr": "3817 NW Expressway, #780"},
]


def config(path: Path, *words: str) -> ContactsFileConfig:
    made = cai.compose(["data=contacts_file", f"data.path={path}", *words]).data
    assert isinstance(made, ContactsFileConfig)
    return made


def jsonl(folder: Path, records: list[dict[str, Any]] = RECORDS) -> Path:
    return write(folder / "contacts.jsonl", "\n".join(json.dumps(record, ensure_ascii=False) for record in records))


def test_each_record_gives_its_questions_with_answers_from_the_document_alone(tmp_path: Path) -> None:
    documents = list(config(jsonl(tmp_path), "data.questions=40").build().documents(Report()))
    assert len(documents) == 40 * len(RECORDS)
    for document in documents:
        text = plain_text(document.parts)
        shown, _, answer = text.partition("[ANSWER]\n")
        read = parse_answer(answer.removesuffix("\n[/ANSWER]"))
        assert read is not None, text
        assert read.name == document.key
        for value in read.contacts.values():
            assert value in shown
        assert find_tag(document.parts, ANSWER) is not None
    assert sum(ABSENT in plain_text(d.parts) for d in documents) > 40
    assert len({plain_text(document.parts) for document in documents}) > 100


facts = st.fixed_dictionaries(
    {"tel": st.just("02-123-4567")},
    optional={
        "address": st.just("서울특별시 종로구 1"),
        "web": st.just("https://a.example"),
        "email": st.just("a@b.example"),
        "hours": st.just("09:00-18:00"),
        "category": st.just("도서관"),
        "department": st.just("안내과"),
    },
)


@settings(max_examples=300, deadline=None)
@given(facts=facts, seed=st.integers(0, 10**6), only=st.booleans())
def test_whatever_is_known_the_example_is_whole_and_true(facts: dict[str, str], seed: int, only: bool) -> None:
    if only:
        facts = {"hours": "09:00-18:00"}
    example = make_example(seeded_random("test", seed), "가온솔", facts)
    answer = parse_answer(example.answer)
    assert answer is not None
    for field, value in answer.contacts.items():
        assert facts[field] == value
        assert value in example.document
    if not example.answerable:
        assert facts.get(example.asked) is None or facts[example.asked] not in example.document
    elif example.asked != "all":
        assert facts[example.asked] in example.document
        assert facts[example.asked] in answer.summary


def test_csv_and_other_field_names_give_the_same(tmp_path: Path) -> None:
    rows = "\n".join(f"{r['name']},{r['tel']},{r['category']}" for r in RECORDS[:3])
    path = write(tmp_path / "a.csv", f"\ufeff기관명,전화,분류\n{rows}\n")
    words = ["data.fields.name=기관명", "data.fields.tel=전화", "data.split_by=기관명"]
    plain = [{key: r[key] for key in ("name", "tel", "category")} for r in RECORDS[:3]]
    assert list(config(path, *words).build().documents(Report())) == list(
        config(jsonl(tmp_path, plain)).build().documents(Report())
    )


@pytest.mark.parametrize("record", [{"name": "", "tel": "02"}, {"name": "가", "category": "나"}, {"tel": "02"}])
def test_a_record_without_a_name_or_contact_is_named_or_counted(tmp_path: Path, record: dict[str, str]) -> None:
    path = jsonl(tmp_path, [RECORDS[0], record])
    with pytest.raises(DataError, match=r"line 2 must have"):
        list(config(path).build().documents(Report()))
    report = Report()
    assert len(list(config(path, "data.on_error=skip").build().documents(report))) == 3
    assert sum(report.dropped.values()) == 1


def test_no_organisation_is_on_both_sides(tmp_path: Path) -> None:
    records = [RECORDS[0] | {"name": f"{n}번 도서관", "tel": f"02-{n:04}"} for n in range(200)] * 2
    corpus = config(jsonl(tmp_path, records), "data.val_ratio=0.2").build()
    train, val = ({document.key for document in corpus.select(side)} for side in ("train", "val"))
    assert len(train | val) == 200
    assert 20 < len(val) < 60
    assert not train & val
