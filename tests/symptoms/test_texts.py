"""What is told of a text: nothing of a good one, and of a bad one what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import cai
from cai.config.roots import GenerateConfig
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import make_organisation
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from cai.decoding.row import End
from cai.markup import ANSWER_START
from cai.symptoms.table import TABLE
from cai.symptoms.texts import Writing, repetition, symptoms_of, symptoms_of_prompt

BEGUN = ANSWER_START.lstrip()
DOCUMENT = "가온솔병원 안내. 전화 051-234-5678, 주소 부산광역시 수영구 12"
ANSWER = """요약:
- 전화번호는 051-234-5678입니다.

체크리스트:
- 전화하기

연락처(공공정보):
- 기관: 가온솔병원
- TEL: 051-234-5678
- ADDR: 부산광역시  수영구 12
- WEB: 문서에 없음
- EMAIL: 문서에 없음

상세 설명:
병원입니다.
"""


def told(
    text: str, *overrides: str, end: End = "tag", begun: str | None = BEGUN, document: str | None = DOCUMENT
) -> dict[str, str]:
    """Name → sentence. ``text`` is a whole answer, or what was written if there is none begun."""
    config: GenerateConfig = cai.compose(["question=a", *overrides], root="generate")
    written = text.removeprefix(begun or "")
    return dict(symptoms_of(Writing(written, end, config.generation, begun=begun, document=document)))


def examples(tables: Tables) -> Iterator[Example]:
    for number in range(60):
        yield from make_examples(make_organisation(number, 5, tables), 4, 5, tables)


@pytest.mark.parametrize("tables", [TRAINING_TABLES, EVALUATION_TABLES], ids=["training", "unseen"])
def test_a_good_answer_has_none(tables: Tables) -> None:
    options = cai.compose(["question=a"], root="generate").generation
    for example in examples(tables):
        written = f"{example.answer}\n".removeprefix(BEGUN)
        for document in (example.document, None):
            assert symptoms_of(Writing(written, "tag", options, begun=BEGUN, document=document)) == []
            for size in range(0, len(written), 83):  # cut off anywhere, that alone is told
                cut = Writing(written[:size], "length", options, begun=BEGUN)
                assert [one.name for one in symptoms_of(cut)] == ["unfinished"]


@pytest.mark.parametrize(("limit", "more"), [(4, 600), (400, 600), (401, 602), (1000, 1500)])
def test_a_cut_answer_wants_more_tokens(limit: int, more: int) -> None:
    sentence = told(ANSWER[:60], f"generation.max_new_tokens={limit}", end="length")["unfinished"]
    assert f"generation.max_new_tokens={limit}, before its [/ANSWER]" in sentence
    assert sentence.endswith(f"Try generation.max_new_tokens={more}.")


@pytest.mark.parametrize("end", ["length", "stop", "tag"])
def test_a_text_that_is_no_answer_may_end_anywhere(end: End) -> None:
    assert told("옛날 옛적에", end=end, begun=None) == {}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("연락처 " * 12, "of its runs of four words"),
        ("처음에는 달랐다. " + "전화는 여기로 하고 주소는 저기로. " * 9, "of its runs of four words"),
        ("가\n- EMAIL: 문서에 없음\n\n- EMAIL: 문서에 없음\n- EMAIL: 문서에 없음", "the same line 3 times running"),
    ],
)
def test_a_text_that_repeats_itself(text: str, fact: str) -> None:
    found = told(text, begun=None, end="length")
    assert list(found) == ["repeats"]
    assert fact in found["repeats"]
    assert "Try generation.repetition_penalty=1.2 or generation.no_repeat_ngram=4." in found["repeats"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "연락처 연락처 연락처",
        "MENENIUS:\n가\n\nBRUTUS:\n나\n\n" * 2,
        "하나 둘 셋 넷 다섯 여섯 일곱",
        "가\n  }\n }\n}\n}",
    ],
)
def test_a_text_that_does_not(text: str) -> None:
    assert repetition(text) == ""


def test_a_loop_does_not_end_with_more_tokens() -> None:
    assert list(told(BEGUN + "연락처 " * 50, end="length")) == ["repeats"]


def test_what_is_set_already_is_not_advised() -> None:
    loop, penalty, ngram = "연락처 " * 12, "generation.repetition_penalty=1.3", "generation.no_repeat_ngram=3"
    assert "Try generation.no_repeat_ngram=4." in told(loop, penalty, begun=None)["repeats"]
    assert "Try generation.repetition_penalty=1.2." in told(loop, ngram, begun=None)["repeats"]
    assert "Try generation=creative." in told(loop, penalty, ngram, begun=None)["repeats"]


WRONG = ANSWER.replace("- TEL: 051-234-5678", "- TEL: 051-999-5678")


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("sections", ANSWER.replace("체크리스트:", "점검:"), "but 요약, 연락처(공공정보), 상세 설명."),
        ("sections", ANSWER.replace("상세 설명:", "요약:"), "but 요약, 체크리스트, 연락처(공공정보), 요약."),
        ("sections", ANSWER[: ANSWER.index("상세")], "but 요약, 체크리스트, 연락처(공공정보)."),
        ("broken", ANSWER.replace("병원입니다", "\ufffd\ufffd 병\ufffd"), "3 characters"),
        ("invented", WRONG, "TEL 051-999-5678."),
        ("invented", ANSWER.replace("WEB: 문서에 없음", "WEB: https://a.example"), "WEB https://a.example."),
    ],
)
def test_a_text_that_wanders_wants_to_be_surer(name: str, text: str, part: str) -> None:
    assert told(ANSWER) == {}
    found = told(text)
    assert list(found) == [name]
    assert part in found[name]
    assert "Try generation=precise or generation=greedy;" in found[name]
    assert "Try generation=greedy;" in told(text, "generation=precise")[name]
    assert "trainer.max_steps" in told(text, "generation=greedy")[name]


def test_without_a_document_nothing_is_invented_and_another_form_is_not_judged() -> None:
    assert told(WRONG, document=None) == {}
    assert told("요약:\n- 그렇습니다.") == {}


@pytest.mark.parametrize("document", ["TEL) 051 234 5678 / 부산광역시\n수영구 12", "전화 (051)234-5678 부산광역시수영구12"])
def test_a_contact_may_be_spelled_otherwise(document: str) -> None:
    assert told(ANSWER, document=document) == {}


def test_a_prompt_that_is_too_long_or_of_a_form_never_seen() -> None:
    assert symptoms_of_prompt(32, 32, asks=True, learned_to_answer=True) == []
    (long,) = symptoms_of_prompt(33, 32, asks=True, learned_to_answer=True)
    assert "33 tokens, but the model sees 32 (model.block_size): all but its last 16" in long.sentence
    (strange,) = symptoms_of_prompt(32, 32, asks=True, learned_to_answer=False)
    assert "Try prompt=" in strange.sentence
    assert symptoms_of_prompt(32, 32, asks=False, learned_to_answer=False) == []


def test_every_option_that_is_named_exists() -> None:
    for row in TABLE.values():
        for key in re.findall(r"generation\.\w+", " ".join(row)):
            cai.compose(["question=a", f"{key}=1"], root="generate")
    cai.compose(["question=a", "generation.repetition_penalty=1.2", "generation.no_repeat_ngram=4"], root="generate")
    for choice in ("precise", "greedy", "creative"):
        cai.compose(["question=a", f"generation={choice}"], root="generate")
