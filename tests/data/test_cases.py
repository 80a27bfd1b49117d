"""Cases: of examples, of documents, and of a user's own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from cai import markup
from cai.data.answers import ABSENT
from cai.data.cases import Case, case_of_document, case_of_example, read_cases
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.tables import TRAINING_TABLES
from cai.errors import DataError
from cai.markup import ANSWER, ANSWER_END, ANSWER_START, DOC, DOC_END, EOS, QUESTION, QUESTION_END, Part, Tag

SUMMARY = "\n\n체크리스트:\n- 확인하기\n\n연락처(공공정보):\n- 기관: 가온병원\n- TEL: 02-123-4567\n- ADDR: 문서에 없음"
PROMPT: tuple[Part, ...] = (
    QUESTION,
    "\n전화?\n",
    QUESTION_END,
    "\n\n",
    DOC,
    "\n가온병원 02-123-4567\n",
    DOC_END,
    "\n\n",
    ANSWER,
)


def write(folder: Path, *records: Any) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def read(folder: Path, record: Any) -> Case:
    (case,) = read_cases(write(folder, record))
    return case


def examples() -> list[Example]:
    organisations = [make_organisation(index, 3, TRAINING_TABLES) for index in range(50)]
    return [example for each in organisations for example in make_examples(each, 2, 3, TRAINING_TABLES)]


def test_an_example_gives_prompt_document_and_what_the_lines_must_say() -> None:
    made = examples()
    for example in made:
        case = case_of_example(example)
        assert case.prompt == markup.prompt_parts(example.question, example.document)
        assert case.document == example.document
        assert [f"- {label}: {value}" in example.answer for label, value in case.fields.items()] == [True] * 4
        assert list(case.fields) == ["TEL", "ADDR", "WEB", "EMAIL"]
        assert case.refuses is not example.answerable
        assert case.answers == ()
        stated = [value for value in case.fields.values() if value != ABSENT]
        assert all(value in example.document for value in stated)
    assert {case_of_example(example).refuses for example in made} == {True, False}


@pytest.mark.parametrize("as_sequence", [tuple, list])
def test_a_document_gives_the_same_case_as_its_example(as_sequence: Any) -> None:
    for example in examples():
        parts = markup.document_parts(example.question, example.document, example.answer)
        assert case_of_document(as_sequence((*parts, EOS))) == case_of_example(example)


def test_the_prompt_ends_before_the_words_of_an_answer_with_another_beginning() -> None:
    case = case_of_document((*PROMPT, "\n답: 02-123-4567\n- TEL: 02-123-4567\n", ANSWER_END))
    assert case == Case(PROMPT, "가온병원 02-123-4567", {"TEL": "02-123-4567"}, refuses=False)


def test_a_fixed_beginning_that_is_no_part_of_its_own_is_not_given_to_the_model() -> None:
    """As the model has seen it in training, where the ids of such an answer run over the place."""
    case = case_of_document((*PROMPT, f"{ANSWER_START} 전화번호는 문서에 없습니다.{SUMMARY}\n", ANSWER_END))
    assert case == Case(PROMPT, "가온병원 02-123-4567", {"TEL": "02-123-4567", "ADDR": ABSENT}, refuses=True)


def test_an_answer_without_contact_lines_has_no_fields() -> None:
    case = case_of_document((*PROMPT, ANSWER_START, " 02-123-4567입니다.\n", ANSWER_END))
    assert case is not None
    assert case.fields == {}
    assert case.prompt == (*PROMPT, ANSWER_START)


@pytest.mark.parametrize(
    ("summary", "refuses"),
    [
        (" 문서에 전화번호가 없어 답할 수 없습니다.", True),
        (" 문서에 위치가 적혀 있지 않으므로 답이 없습니다.", True),
        (" 전화는 문서에 있습니다.", False),
        (" 휴일이 없습니다.", False),
        (" 전화는 02-123-4567입니다.\n- 주소는 문서에 없습니다.", False),
    ],
)
def test_the_first_line_of_the_summary_decides_whether_it_is_a_refusal(summary: str, refuses: bool) -> None:
    case = case_of_document((*PROMPT, ANSWER_START, f"{summary}{SUMMARY}\n", ANSWER_END))
    assert case is not None
    assert case.refuses is refuses


def test_documents_without_doc_with_two_and_with_no_end() -> None:
    without = case_of_document((*PROMPT[:4], ANSWER, ANSWER_START, " 네."))
    assert without is not None
    assert without.document == ""
    two = case_of_document((DOC, "\n가\n", DOC_END, "\n", DOC, "나\n", *PROMPT[:4], ANSWER, "네", EOS, "다음"))
    assert two is not None
    assert two.document == "가\n나"


def test_what_only_spells_a_tag_is_text() -> None:
    case = case_of_document((QUESTION, "?", DOC, "가", str(DOC), "나", ANSWER, "\n", str(ANSWER_END), "- TEL: 1\n", EOS))
    assert case is not None
    assert case.document == "가[DOC]나"
    assert case.fields == {}
    lines = case_of_document((QUESTION, "?", ANSWER, str(ANSWER_END), "\n- TEL: 1\n"))
    assert lines is not None
    assert lines.fields == {"TEL": "1"}


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("본문",),
        PROMPT,
        (*PROMPT, ANSWER_START),
        (*PROMPT, "\n \n", ANSWER_END),
        (*PROMPT, ANSWER_END, "뒤"),
        (ANSWER, "네", ANSWER_END),
        (ANSWER, "네", QUESTION, "?"),
        ("[QUESTION]", "?", "[ANSWER]", "네"),
    ],
)
def test_what_has_no_question_or_no_answer_is_no_case(parts: tuple[Part, ...]) -> None:
    assert case_of_document(parts) is None


@pytest.mark.parametrize("document", ["context", "doc", "document"])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"answers": ["02-1", "02-2"]}, ("02-1", "02-2")),
        ({"answers": "02-1"}, ("02-1",)),
        ({"answer": "02-1"}, ("02-1",)),
        ({"answer": ["02-1"], "answers": None}, ("02-1",)),
        ({"answers": {"text": ["02-1", "02-2"], "answer_start": [3, 9]}}, ("02-1", "02-2")),
        ({"answers": {"text": "02-1"}}, ("02-1",)),
        ({"answers": [{"text": "02-1", "answer_start": 3}]}, ("02-1",)),
        ({"answers": []}, ()),
        ({"answers": {"text": [], "answer_start": []}}, ()),
    ],
)
def test_every_form_of_a_case_is_read(tmp_path: Path, document: str, answers: dict[str, Any], expected: Any) -> None:
    case = read(tmp_path, {"id": 1, "question": " 번호? ", document: "가온 02-1\n"} | answers)
    assert case == Case(markup.prompt_parts("번호?", "가온 02-1"), "가온 02-1", {}, refuses=not expected, answers=expected)


@pytest.mark.parametrize("record", [{}, {"context": None}, {"doc": ""}, {"document": " \n"}])
def test_a_case_may_have_no_document(tmp_path: Path, record: dict[str, Any]) -> None:
    case = read(tmp_path, {"question": "번호?", "answer": "1"} | record)
    assert case.prompt == markup.prompt_parts("번호?")
    assert case.document == ""


def test_text_is_nfc_and_tags_in_it_are_text(tmp_path: Path) -> None:
    case = read(tmp_path, {"question": normalize("NFD", "전화[DOC]"), "doc": normalize("NFD", "나"), "answer": "한"})
    assert case.prompt == markup.prompt_parts("전화[DOC]", "나")
    assert [part for part in case.prompt if isinstance(part, Tag)] == [QUESTION, QUESTION_END, DOC, DOC_END, ANSWER]


def test_a_byte_order_mark_crlf_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "a", "answer": "b"}\r\n\r\n  \n{"question": "c", "answer": "d"}')
    assert [case.answers for case in read_cases(path)] == [("b",), ("d",)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "must be a JSON object, but cannot be read at column 2"),
        ("[1]", "must be a JSON object, but is [1]. Write {"),
        ('"' + "가" * 99 + '"', 'but is "' + "가" * 36 + "...."),
        ("[" * 100_000, "is nested too deeply"),
        ("1" * 5000, "cannot be read"),
        ("{}", "must have the field question, but there is none (the record has nothing). Add it."),
        ('{"qestion": "?"}', "there is none (the record has qestion). Did you mean qestion?"),
        ('{"question": null}', "must have the field question, but it is null. Add it."),
        ('{"question": " "}', "must have text in the field question, but it is blank. Write it, or leave the case out."),
        ('{"question": 7}', "must have text in the field question, but 7 is there. Write one text, in quotes."),
        (
            '{"question": "?"}',
            'must have the field answers, but there is none (the record has question). Add it. "answers": []',
        ),
        ('{"question": "?", "answr": "a"}', "Did you mean answr?"),
        ('{"question": "?", "answer": ""}', 'field answer, but it is blank. Write it, or leave the case out. "answers": []'),
        ('{"question": "?", "answers": ["a", 1]}', "must have text in the field answers, but 1 is there."),
        ('{"question": "?", "answers": [["a"]]}', 'but ["a"] is there.'),
        ('{"question": "?", "answers": {"texts": []}}', 'but an object without "text" is there ({"texts": []})'),
        ('{"question": "?", "answers": [], "answer": "a"}', "must have one of answers, answer, but has answers and answer."),
        ('{"question": "?", "doc": "a", "context": "b"}', "but has context and doc. Leave one out."),
        ('{"question": "?", "doc": 5, "answer": "a"}', "must have text in the field doc, but 5 is there."),
        (
            '{"question": "\\ud800"}',
            "must be Unicode text, but the field question holds half of a surrogate pair at character 0",
        ),
        ('["\\ud800"]', 'but is ["\\ud800"]'),
        ('{"\\ud800": 1}', "the record has \\ud800"),
    ],
)
def test_a_mistake_names_file_line_rule_value_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"question": "a", "answer": "b"}}\n\n{line}\n', encoding="utf-8")
    cases = read_cases(path)
    assert next(cases).answers == ("b",)
    with pytest.raises(DataError) as caught:
        next(cases)
    assert str(caught.value).startswith(f"{path}, line 3 must ")
    assert message in str(caught.value)
    assert str(caught.value).encode()


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"question": "전화", "answer": "b"}'.encode("cp949"))
    with pytest.raises(DataError, match=r"a\.jsonl, line 1 must be UTF-8, but has the byte 0xc0 at its column 15 .*Save"):
        list(read_cases(path))


def test_a_file_that_is_not_there_or_has_no_case(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl must be a file of cases that can be read, but is not: No such file"):
        list(read_cases(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"must be a file of cases that can be read, but is not: Is a directory"):
        list(read_cases(tmp_path))
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match=r"empty\.jsonl must hold at least one case, but has none\. Write"):
        list(read_cases(tmp_path / "empty.jsonl"))
