"""The page of troubles is whole and true: the headings of the founding page, the rows of the table, its commands typed."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from cai.diagnosis import expected
from cai.symptoms.table import TABLE
from tests.conftest import TINY
from tests.docs.pages import DOCS, blocks, commands, dead_links, headings, named_files, quick_doctor, typed, write_files

PAGE, KOREAN = DOCS / "troubleshooting.md", DOCS / "ko" / "troubleshooting.md"

SECTIONS = (
    (1, "Tips and troubleshooting", "팁과 트러블슈팅"),
    (2, "Overview", "개요"),
    (2, "Environment", "환경 관련 문제"),
    (3, "MPS out of memory", "MPS (Metal Performance Shaders) 오류"),
    (3, "MPS lacks an operator", "MPS에서 특정 연산 미지원"),
    (3, "CUDA out of memory", "CUDA Out of Memory (GPU 서버 사용 시)"),
    (2, "Tokenizer", "토크나이저 문제"),
    (3, "Korean falls into pieces", "한국어가 글자 단위로 쪼개짐"),
    (3, "Many unknown tokens", "[UNK] 토큰이 많이 나옴"),
    (3, "The tokenizer is missing", "토크나이저 로드 실패"),
    (2, "Training", "학습 관련 문제"),
    (3, "The loss does not fall", "Loss가 줄어들지 않음"),
    (3, "The loss is NaN or infinite", "Loss가 NaN 또는 Inf"),
    (3, "Training is too slow", "학습이 너무 느림"),
    (3, "A checkpoint does not load", "체크포인트 로드 실패"),
    (2, "Generation", "생성 관련 문제"),
    (3, "The text repeats itself", "생성된 텍스트가 반복됨"),
    (3, "The text wanders", "생성된 텍스트가 엉뚱함"),
    (3, "[ANSWER] is not closed", "[ANSWER] 태그가 닫히지 않음"),
    (3, "Generation is too slow", "생성이 너무 느림"),
    (2, "Data", "데이터 관련 문제"),
    (3, "Too little data", "학습 데이터가 부족함"),
    (3, "Only one form comes out well", "특정 형식만 잘 생성됨"),
    (2, "Performance tips", "성능 최적화 팁"),
    (3, "Batch size", "1. 배치 크기 최적화"),
    (3, "Learning-rate schedule", "2. 학습률 스케줄링"),
    (3, "Early stopping", "3. Early Stopping"),
    (3, "Data that does not fit into memory", "4. 효율적인 데이터 로딩"),
    (2, "Debugging tips", "디버깅 팁"),
    (3, "Shapes", "1. 텐서 형태 확인"),
    (3, "Gradients", "2. Gradient 확인"),
    (3, "Attention", "3. Attention 시각화"),
    (2, "Frequently asked questions", "자주 묻는 질문 (FAQ)"),
    (3, "How long should I train?", "Q: 얼마나 학습해야 하나요?"),
    (3, "Can I train without a GPU?", "Q: GPU 없이도 학습 가능한가요?"),
    (3, "Is a larger model always better?", "Q: 더 큰 모델이 항상 좋은가요?"),
    (3, "What does temperature 0 do?", "Q: Temperature를 0으로 설정하면?"),
    (3, "How do I deploy a model?", "Q: 모델을 어떻게 배포하나요?"),
    (2, "References", "참고 자료"),
    (3, "Official documentation", "공식 문서"),
    (3, "Papers", "논문"),
    (3, "Implementations", "구현 참고"),
    (2, "Next steps", "다음 단계"),
    (3, "Order of reading", "추천 학습 순서"),
    (3, "Order of practice", "실습 순서"),
)
"""Every heading of the founding page in its order, with its English one."""
OURS = {
    "The computer's memory runs out": "컴퓨터 메모리가 부족함",
    "The disk is full": "디스크가 가득 참",
    "A run fails": "실행이 실패함",
}
"""Troubles that the founding page does not have."""

BESIDE_MEMORY = "cai doctor model=gpt2_small trainer.batch_size=128 trainer.micro_batch_size=128"
"""Told what it takes, where there is less; the test has its model small, and less still."""
FAILURES = {
    "cai doctor device=mps": (2, "`device.type` must be a device of this machine (cpu), but is mps."),
    BESIDE_MEMORY: (1, "the computer must have memory for this config"),
    "cai train tokenizer=pretrained tokenizer.path=data/tokenizer.json": (2, "data/tokenizer.json cannot be read"),
    "cai train trainer=smoke optimizer=sgd optimizer.lr=1e30 trainer.grad_clip=0": (1, "must be a finite number, but is"),
    "cai train trainer=smoke model.n_embd=32 trainer.init_from=last": (2, "but model.n_embd is 32, there 16."),
    "cai train data=text data.path=my_notes.txt data.separator=file": (2, "data must give at least one validation document"),
}
"""Commands that are meant to fail: exit code, and words of what is said."""
OF_A_RUN = {"train", "prepare", "doctor", "inspect data", "inspect tokenizer", "inspect lr", "inspect model"}

Walked = dict[str, str]
"""What was seen of each command."""


def shortened(line: str) -> str:
    """A command as it is typed, with what makes it quick; what it says itself stays, and text of its own stays whole."""
    words = shlex.split(line)
    if words[1] == "generate":
        return line.replace("=600", "=60") if "max_new_tokens" in line else f"{line} generation.max_new_tokens=40"
    if not {words[1], " ".join(words[1:3])} & OF_A_RUN or any(word.startswith("run=") for word in words):
        return line
    given = dict(word.split("=", 1) for word in words if "=" in word)
    small = dict(word.split("=", 1) for word in TINY)
    if "data" in given:
        small = {key: value for key, value in small.items() if not key.startswith("data.")}
    if given.get("tokenizer", "bpe") not in ("bpe", "bpe,bpe_character"):
        small.pop("tokenizer.vocab_size")
    if "trainer.max_epochs" in given:
        small.pop("trainer.max_steps")
    if given.get("trainer") == "overfit":
        small |= {"trainer.max_steps": "60", "model.n_embd": "64"}
    if words[1:3] == ["inspect", "lr"]:
        small["steps"] = "20"
    if words[1:3] == ["inspect", "data"]:  # rows as they are by default
        small = {key: small[key] for key in ("data.samples", "data.val_ratio")}
    return shlex.join([*words, *(f"{key}={value}" for key, value in small.items() if key not in given)])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Every command of the page, in its order; one that is not in ``FAILURES`` must end well."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("troubles")
    write_files(PAGE, folder)
    seen: Walked = {}
    with quick_doctor() as patch:
        for line in commands(PAGE):
            with patch.context() as there:
                if line == BESIDE_MEMORY:
                    there.setattr(expected, "free_memory", lambda: 100_000)
                code, seen[line] = typed(shortened(line), folder)
            assert code == FAILURES.get(line, (0, ""))[0], f"{line}\n{seen[line]}"
    return seen


def sections(page: Path) -> dict[str, str]:
    """Heading → the text below it, up to the next one; its lines joined, its blocks and quotes without marks."""
    text = page.read_text(encoding="utf-8")
    titles = [title for _, title in headings(page)]
    places = [text.index(f"# {title}\n") for title in titles] + [len(text)]
    every = zip(titles, pairwise(places), strict=True)
    return {title: " ".join(text[begin:end].split()).replace("`", "") for title, (begin, end) in every}


def first_words(seen: str) -> str:
    """Of a row of the table: the beginning of its first stretch of three words or more without a fact in it."""
    stretches = [stretch.split() for stretch in re.split(r"\{[^}]*\}", seen.replace("`", ""))]
    return " ".join(next((words for words in stretches if len(words) >= 3), max(stretches, key=len))[:5]).rstrip(".,:;")


def test_every_heading_of_the_founding_page_has_its_section_in_both_languages() -> None:
    for page, column, ours in ((PAGE, 1, set(OURS)), (KOREAN, 2, set(OURS.values()))):
        found = headings(page)
        assert [each for each in found if each[1] not in ours] == [(each[0], each[column]) for each in SECTIONS]
        assert ours <= {title for _, title in found}
    korean = {each[1]: each[2] for each in SECTIONS} | OURS
    assert [korean[title] for _, title in headings(PAGE)] == [title for _, title in headings(KOREAN)]


def test_every_row_of_the_table_is_told_of_in_its_section() -> None:
    korean = {each[1]: each[2] for each in SECTIONS} | OURS
    for page, title in ((PAGE, lambda name: name), (KOREAN, korean.__getitem__)):
        told = sections(page)
        assert [name for name, row in TABLE.items() if first_words(row.seen) not in told[title(row.section)]] == []


def test_both_languages_have_the_same_blocks_in_the_same_sections() -> None:
    assert blocks(KOREAN, "sh") == blocks(PAGE, "sh")
    assert blocks(KOREAN, "text") == blocks(PAGE, "text")
    assert named_files(KOREAN) == named_files(PAGE)
    counts = [[text.count("sh cai ") for text in sections(page).values()] for page in (PAGE, KOREAN)]
    assert counts[0] == counts[1]
    assert sum(counts[0]) == len(blocks(PAGE, "sh"))


@pytest.mark.parametrize("page", [PAGE, KOREAN], ids=["en", "ko"])
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("line", FAILURES)
def test_what_is_meant_to_fail_says_why(walked: Walked, line: str) -> None:
    words = FAILURES[line][1]
    assert words in " ".join(walked[line].split())
    quoted = words.replace("there 16", "there 128").replace("`", "")  # the page has the default size
    assert quoted in " ".join(sections(PAGE).values())


def test_what_helps_is_seen_to_help(walked: Walked) -> None:
    assert "finished, step 6\n  seen " in walked["cai doctor run=last"]
    assert "syllables are split into bytes" in next(text for line, text in walked.items() if "vocab_size=300 " in line)
    assert "outside the tokenizer's alphabet" in next(text for line, text in walked.items() if "tokenizer=char" in line)
    assert "the loss begins to fall" in walked["cai inspect lr"]
    assert "learned by heart: the loss of one batch is" in walked["cai train trainer=overfit"]
    assert "⟦" in walked["cai inspect data stage=rows count=1"]
    assert "profile of 3 steps" in walked["cai train trainer=smoke trainer.profile=true"]
    assert "generation.max_new_tokens=20, before its [/ANSWER]" in next(
        text for line, text in walked.items() if line.endswith("max_new_tokens=20")
    )
    assert "update/weight" in walked["cai inspect gradients run=last"]


def test_a_page_that_lacks_a_message_or_has_an_old_one_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8").replace("the text repeats itself (", "the text says all twice ("))
    row = TABLE["repeats"]
    assert first_words(row.seen) in sections(PAGE)[row.section]
    assert first_words(row.seen) not in sections(page)[row.section]
