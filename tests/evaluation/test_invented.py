"""Contacts that are in an answer and not in its document."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from cai.data.cases import Case
from cai.evaluation.answers import score
from tests.evaluation.test_answers import DOCUMENT, FIELDS, GOOD, judged, with_contacts


def invented(said: str, document: str) -> tuple[str, ...]:
    return score(Case((), document, {}, refuses=False), f"요약:\n- {said}", closed=True).invented


@pytest.mark.parametrize(
    ("label", "field", "value"),
    [
        ("TEL", "tel", "02-2345-6780"),
        ("TEL", "tel", "119"),
        ("ADDR", "address", "서울특별시 중구 강변로 136"),
        ("ADDR", "address", "서울특별시 중구 강변로 13"),
        ("WEB", "web", "https://gaon.example/en"),
        ("WEB", "web", "https://gaon.exampl"),
        ("WEB", "web", "gaon"),
        ("EMAIL", "email", "help@gaon.example"),
    ],
)
def test_a_line_that_the_document_does_not_have(label: str, field: str, value: str) -> None:
    assert value in with_contacts(**{field: value}).invented
    loosely = GOOD.render().replace("담당 부서는", f" -{label} : {value}\n담당 부서는")
    assert value in judged(loosely).invented


def test_each_is_told_once() -> None:
    judgement = judged(summary="전화번호는 02-999-1111입니다.", contacts={**GOOD.contacts, "tel": "02-999-1111"})
    assert judgement.invented == ("02-999-1111",)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("전화는 02-999-1111입니다.", "02-999-1111"),
        ("02-2345-6789, 02-999-1111번", "02-999-1111"),
        ("02-2345-6789 02-999-1111번", "02-999-1111"),
        ("강변로 135 02-999-1111", "135 02-999-1111"),
        ("전화(02-999-1111)로", "02-999-1111"),
        ("(02)999-1111", "(02)999-1111"),
        ("02)999-1111", "02)999-1111"),
        ("02 999 1111", "02 999 1111"),
        ("+82 2 999 1111", "+82 2 999 1111"),
        ("+44 (0)20 7946 0123", "+44 (0)20 7946 0123"),
        ("0299911111", "0299911111"),
        ("TEL02.999.1111.", "02.999.1111"),
        ("02–999–1111", "02–999–1111"),
        ("02-2345-678", "02-2345-678"),
        ("2345-6789", "2345-6789"),
        ("02-2345-67891", "02-2345-67891"),
        ("02 2345-6789", "02 2345-6789"),
        ("http://gaon.example/ko에서", "http://gaon.example/ko"),
        ("https://gaon.example/korea.", "https://gaon.example/korea"),
        ("(https://gaon.exam)", "https://gaon.exam"),
        ("https://gaon", "https://gaon"),
        ("https://gaon.kr/2024051234", "https://gaon.kr/2024051234"),
        ("www.gaon.kr입니다", "www.gaon.kr"),
        ("aon.example/ko", "aon.example/ko"),
        ("https://한글.kr입니다. 끝", "https://한글.kr"),
        ("help@gaon.example로", "help@gaon.example"),
        ("help@gaon으로", "help@gaon"),
    ],
)
def test_numbers_and_addresses_anywhere(said: str, found: str) -> None:
    assert invented(said, DOCUMENT) == (found,)


@pytest.mark.parametrize(
    "said",
    [
        "전화는 02-2345-6789번, 밤에는 031-222-3333입니다.",
        "02-2345-6789 031-222-3333",
        "강변로 135 02-2345-6789 10시",
        "강변로 135(02-2345-6789)",
        "(야간 031-222-3333)",
        "https://gaon.example/ko를 보세요. https://gaon.example/ko, 그리고 (https://gaon.example/ko)",
        "gaon.example/ko 또는 gaon.example",
        "평일 09:00~18:00, 123456번째, 2024-05-12, 2024. 5. 12., 1999.12.31까지",
        "1,234,567원",
        "파일.hwp, v1.2, U.S.A., 10시~12시",
    ],
)
def test_what_is_in_the_document_or_is_no_contact(said: str) -> None:
    assert invented(said, DOCUMENT) == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("- 02-123-4567", "02-123-4567"),
        ("T.02-123-4567/8", "02-123-4567"),
        ("1) 02-123-4567~9", "02-123-4567"),
        ("TEL02-123-4567,02-123-4568", "02-123-4568"),
        ("지점 135 (02) 123-4567", "(02) 123-4567"),
        ("02 123 4567", "02 123 4567"),
        ("+82 2 123 4567", "+82 2 123 4567"),
        ("W.https://a.kr/b?c=1&d=2)", "https://a.kr/b?c=1&d=2"),
        ("http://a.kr/", "http://a.kr/입니다"),
        ("http://www.a.kr", "www.a.kr"),
        ("https://a.com/@b", "https://a.com/@b입니다"),
        ("a.b-c@d.co.kr로", "a.b-c@d.co.kr"),
        ("https://a.kr/20240512345", "https://a.kr/20240512345"),
    ],
)
def test_forms_of_documents(document: str, said: str) -> None:
    assert invented(said, document) == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("102-123-4567", "02-123-4567"),
        ("02-123-45678", "02-123-4567"),
        ("02-123-4567-8", "02-123-4567"),
        ("(02)123-4567", "123-4567"),
        ("02.123.4567", "123.4567"),
        ("help@a.kr", "a.kr"),
        ("help-desk@a.kr", "desk@a.kr"),
        ("help@a.co.kr", "help@a.co"),
        ("https://a.co.kr", "https://a.co"),
        ("https://a.kr-b.com", "https://a.kr"),
    ],
)
def test_a_part_of_a_longer_number_or_address_does_not_stand_there(document: str, said: str) -> None:
    assert invented(said, document) == (said,)


def test_without_a_document_what_is_right_may_be_said() -> None:
    case = Case((), "", {}, refuses=False, answers=("02-123-4567",))
    assert score(case, "요약:\n- 02-123-4567입니다.", closed=True).invented == ()
    assert score(case, "요약:\n- 02-123-4568입니다.", closed=True).invented == ("02-123-4568",)
    assert score(replace(case, fields=FIELDS, answers=()), GOOD.render(), closed=True).invented == ()


@pytest.mark.parametrize("loop", ["1 ", "1-", "(1", "02-111-2222 ", "가온 02 ", "a.", "x@", "https://", "- TEL: ", " "])
def test_a_model_in_a_loop_is_judged_in_no_time(loop: str) -> None:
    start = time.process_time()
    invented(loop * 1500, DOCUMENT)
    assert time.process_time() - start < 2
