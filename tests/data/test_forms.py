"""One form that dominates a text is told with its share; a text of many forms, or of one format, has nothing to be told."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

import cai
from cai.cli import main
from cai.data.base import Document
from cai.data.forms import CHARACTERS, DOMINATES, FEWEST, SAMPLE, Forms, one_sided
from cai.data.report import Report, describe_report
from cai.markup import ANSWER, ANSWER_END, QUESTION, QUESTION_END

SYLLABLES = "가나다라마바사아자차카타파하"


def word(draw: random.Random) -> str:
    return "".join(draw.choices(SYLLABLES, k=draw.randint(2, 4)))


def words(draw: random.Random) -> str:
    return " ".join(word(draw) for _ in range(draw.randint(4, 9)))


def asked(question: str, answer: str) -> Document:
    return Document((QUESTION, f"\n{question}\n", QUESTION_END, "\n\n", ANSWER, f"\n{answer}\n", ANSWER_END))


def told(documents: Iterable[Document]) -> list[str]:
    forms = Forms()
    for document in documents:
        forms.see(document)
    return [one.sentence for one in one_sided({"one_sided": forms.to_tree()})]


def mixed(share: float, common: str, other: str, count: int = 400) -> list[str]:
    """Texts of which a share is ``common`` with random words in it, the others ``other``."""
    draw = random.Random(1)
    forms = (common if number < share * count else other for number in range(count))
    return [form.replace("@", words(draw)) for form in forms]


def test_questions_that_end_alike_are_told_with_what_varies_them() -> None:
    documents = [asked(text, str(number)) for number, text in enumerate(mixed(0.8, "@ 전화번호 알려줘.", "@?"))]
    (sentence,) = told(documents)
    assert sentence.startswith(
        "80% of the 400 questions looked at end with '전화번호 알려줘.': in other forms the model will be worse."
    )
    assert "data.augment.copies=2" in sentence
    assert "data=mix" in sentence


def test_questions_that_begin_alike_are_told() -> None:
    documents = [asked(text, str(number)) for number, text in enumerate(mixed(0.6, "혹시 지금 @?", "@?"))]
    assert told(documents)[0].startswith("60% of the 400 questions looked at begin with '혹시 지금':")


def test_answers_that_are_the_same_are_told() -> None:
    draw = random.Random(0)
    documents = [asked(words(draw), "모르겠습니다." if number % 4 else words(draw)) for number in range(400)]
    (sentence,) = told(documents)
    assert sentence.startswith("75% of the 400 answers looked at are '모르겠습니다.':")
    assert "data.clean.duplicates=exact" in sentence


@pytest.mark.parametrize(
    ("common", "other", "said"),
    [
        ("[오류] @", "@", "70% of the 400 documents looked at begin with '[오류]':"),
        ("오류 서버 @", "@", "70% of the 400 documents looked at begin with '오류 서버':"),
        ("@ 감사합니다. 끝.", "@", "70% of the 400 documents looked at end with '감사합니다. 끝.':"),
    ],
)
def test_documents_of_one_form_are_told(common: str, other: str, said: str) -> None:
    (sentence,) = told(Document((text,)) for text in mixed(0.7, common, other))
    assert sentence.startswith(said)
    assert "data.balance_by" in sentence


def test_documents_filled_into_one_pattern_are_told_by_an_example() -> None:
    draw = random.Random(0)
    rows = [f"{word(draw)} ({word(draw)}): {draw.randint(1, 10**6)} {word(draw)}" for _ in range(300)]
    (sentence,) = told(Document((row,)) for row in [*rows, *mixed(0, "", "@", 100)])
    assert sentence.startswith(f"75% of the 400 documents looked at are made like '{rows[0]}':")


def test_of_few_documents_the_lines_are_looked_at() -> None:
    assert told([Document(("\n".join(mixed(0.9, "날씨: @", "@")),))])[0].startswith(
        "90% of the 400 documents looked at begin with"
    )
    assert told([Document(("\n".join(mixed(0.9, "날씨: @", "@", FEWEST - 1)),))]) == []


def test_nothing_is_told_of_many_forms_of_a_format_and_of_few_texts() -> None:
    draw = random.Random(0)
    assert told(Document((words(draw),)) for _ in range(400)) == []
    assert told(Document((f"질문: {words(draw)}\n답: {words(draw)} 끝.",)) for _ in range(400)) == []
    assert told(asked(f"{words(draw)}?", words(draw)) for _ in range(400)) == []
    assert told(Document((text,)) for text in mixed(DOMINATES - 0.05, "[오류] 서버 @", "@")) == []
    assert told(asked("언제나 같다.", words(draw)) for _ in range(FEWEST - 1)) == []
    assert "questions looked at are '언제나 같다.'" in told(asked("언제나 같다.", words(draw)) for _ in range(FEWEST))[0]
    assert "documents looked at are '언제나 같다.'" in told([Document(("언제나 같다.",))] * FEWEST)[0]
    assert told([]) == told([Document(("",))] * 200) == []


def test_a_format_that_a_few_lines_lack_is_a_format_and_what_comes_after_it_is_looked_at() -> None:
    lines = [f"질문: {text}" for text in mixed(0.8, "혹시 지금 @?", "@?")]
    assert told(Document((line,)) for line in [*lines, "머리말 한 줄"])[0].startswith(
        "80% of the 401 documents looked at begin with"
    )


def test_contacts_that_no_answer_has_are_told(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    records = [{"name": word(draw) + str(n), "tel": f"02-{n:03}-5678", "addr": words(draw)} for n in range(200)]
    (scratch / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert main(["prepare", "data=contacts_file", "data.path=a.jsonl", "tokenizer=byte", "data.val_ratio=0.3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "answers looked at say «WEB: 문서에 없음»: the model will say nothing else." in out
    assert "«EMAIL: 문서에 없음»" in out
    assert "«TEL" not in out


def test_it_is_told_when_text_is_prepared_and_in_the_plan_of_a_run_and_kept(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"{text},답 {number}" for number, text in enumerate(mixed(0.9, "@ 번호 알려줘", "@", 300)))
    (scratch / "a.csv").write_text(f"q,a\n{rows}\n", encoding="utf-8")
    template = r"data.template=[QUESTION]\n{q}\n[/QUESTION]\n\n[ANSWER]\n{a}\n[/ANSWER]"
    words = ["data=csv", "data.path=a.csv", template, "data.val_ratio=0.2", "tokenizer=byte"]
    for _ in range(2):  # the second time from the cache
        assert main(["prepare", *words]) == 0
        assert "questions looked at end with '번호 알려줘'" in " ".join(capsys.readouterr().out.split())


def test_the_embedded_corpus_is_not_one_sided() -> None:
    for wild in ("0.9", "0.0"):
        report = Report()
        for _ in cai.compose(["data.samples=300", f"data.wild={wild}"]).data.build().divide(report):
            pass
        assert "one_sided" not in report.to_tree()


def test_a_report_says_as_much_as_before(tmp_path: Path) -> None:
    report = Report()
    report.read = report.kept = 200
    for number in range(200):
        report.forms.see(Document((f"같은 말 {number} 같은 말",)))
    tree = report.to_tree()
    assert describe_report(tree) == "200 read, 200 kept"
    assert [facts["what"] for facts in tree["one_sided"]] == ["documents"]


def test_of_a_long_text_and_of_long_documents_no_more_than_a_bounded_sample_is_kept() -> None:
    forms = Forms()
    for number in range(5 * SAMPLE):
        forms.see(Document((str(number) + "가" * 10_000,)))
    assert SAMPLE <= len(forms._kept) < 2 * SAMPLE
    assert sum(len(each.text) for each in forms._kept) <= 10 * CHARACTERS
    numbers = [int(each.text.split("가")[0]) for each in forms._kept]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 4.9 * SAMPLE
    assert len({after - before for before, after in itertools.pairwise(numbers)}) == 1
