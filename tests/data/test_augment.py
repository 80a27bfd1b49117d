"""Varied copies say the same in other words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cai.data.augment import ENDINGS, AugmentConfig, exchange, lay_out, paraphrase, reorder, vary
from cai.data.base import Document
from cai.errors import DataError
from cai.markup import DOC, Tag, document_parts, find_tag, plain_text
from tests.data.options import AUGMENT
from tests.data.test_text import write

DOCUMENT = Document(
    document_parts(
        "가온솔병원 전화번호 알려 주세요.",
        "가온솔병원 안내\n- 전화: 051-234-5678\n- 주소: 부산광역시 수영구 12",
        "요약:\n- 051-234-5678입니다.",
    )
)


def config(**options: object) -> AugmentConfig:
    return AugmentConfig.model_validate(AUGMENT | options)


def test_a_paraphrase_keeps_what_is_asked_and_varies_how() -> None:
    questions = {paraphrase(random.Random(seed), "가온솔병원 전화번호 알려 주세요.") for seed in range(100)}
    assert len(questions) > 10
    for question in questions:
        assert "가온솔병원 전화번호 " in question
        assert question.endswith(ENDINGS[0])


def test_a_question_without_a_known_ending_keeps_its_words() -> None:
    assert all(paraphrase(random.Random(seed), "대표번호?").endswith("대표번호?") for seed in range(20))


def test_synonyms_stand_at_words_and_take_the_particle_that_fits() -> None:
    table = (("병원", "의료기관", "클리닉"), ("누리집", "홈페이지"))
    seen = {exchange(random.Random(seed), "병원은 누리집을 열고 병원과 동물병원이 논다", table) for seed in range(200)}
    assert len(seen) > 6
    for text in seen:
        assert "동물병원이" in text, "never inside a longer word"
        for wrong in ("홈페이지을", "의료기관는", "클리닉는", "의료기관와", "클리닉와"):
            assert wrong not in text
    assert any("홈페이지를" in text for text in seen)


def test_sentences_and_layouts_lose_no_word() -> None:
    text = "첫째 문장이다. 둘째 문장이다. 셋째 문장이다.\n따로 선 줄"
    orders = {reorder(random.Random(seed), text) for seed in range(50)}
    assert len(orders) == 6
    assert all(sorted(order.split()) == sorted(text.split()) for order in orders)
    layouts = {lay_out(random.Random(seed), "기관\n- 전화: 02\n- 주소: 서울") for seed in range(50)}
    assert len(layouts) == 6
    assert all("전화: 02" in layout and "주소: 서울" in layout and layout.startswith("기관\n") for layout in layouts)


def test_a_copy_is_decided_by_seed_document_and_number() -> None:
    every = config(questions=True, sentences=True, layout=True)
    copies = [vary(every, (), DOCUMENT, number) for number in range(1, 9)]
    assert copies == [vary(every, (), DOCUMENT, number) for number in range(1, 9)]
    assert len({plain_text(copy.parts) for copy in copies}) > 6
    assert vary(config(questions=True, layout=True, seed=2), (), DOCUMENT, 1) != copies[0]


def test_tags_answers_and_facts_stay() -> None:
    for number in range(1, 20):
        copy = vary(config(questions=True, sentences=True, layout=True), (("병원", "의원"),), DOCUMENT, number)
        tags = [[part for part in document.parts if isinstance(part, Tag)] for document in (copy, DOCUMENT)]
        assert tags[0] == tags[1]
        place = find_tag(copy.parts, DOC)
        assert place is not None
        assert "051-234-5678" in copy.parts[place + 1]
        assert "가온솔병원" in copy.parts[place + 1], "a synonym in the document would part it from its answer"
        assert copy.parts[-4:] == DOCUMENT.parts[-4:]


def test_everything_off_changes_nothing() -> None:
    assert vary(config(), (), DOCUMENT, 1) == DOCUMENT


def test_the_users_table_is_read_and_refused_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path / "words.csv", "\ufeff병원,의원\n\n혼자\n누리집, 홈페이지 ,웹사이트\n")
    assert config(synonyms=str(path)).table() == (("병원", "의원"), ("누리집", "홈페이지", "웹사이트"))
    for wrong in (tmp_path / "none.csv", write(tmp_path / "cp949.csv", "병원,의원".encode("cp949"))):
        with pytest.raises(DataError, match=r"data\.augment\.synonyms must be a CSV file"):
            config(synonyms=str(wrong)).check()
