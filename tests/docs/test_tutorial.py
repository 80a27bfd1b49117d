"""The tutorial is true: a newcomer's path is walked, every command typed as it is written, in order, in one folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.docs.pages import DOCS, blocks, commands, dead_links, headings, named_files, quick_doctor, typed, write_files

PAGE, KOREAN = DOCS / "tutorial.md", DOCS / "ko" / "tutorial.md"
OF_A_RUN = {"train", "prepare", "doctor", "inspect data", "inspect tokenizer"}
"""What takes the options of a run."""
SMALL = (
    "device=cpu",
    "device.precision=fp32",
    "device.threads=1",
    "model.n_layer=1",
    "model.n_head=2",
    "model.n_embd=16",
    "model.block_size=480",
    "trainer.max_steps=2",
    "trainer.batch_size=2",
    "trainer.eval_max_tokens=480",
    "trainer.samples=1",
    "trainer.answers=2",
    "generation.max_new_tokens=8",
    "schedule.warmup_steps=1",
)
"""A model and a run of a second."""
OF_THE_WORLD = ("samples=40", "wild=0.0", "val_ratio=0.1")
"""Of the embedded corpus, which the page has in full."""
PICTURE_BYTES = 150_000

Walked = dict[str, str]
"""What was seen of each command."""


def shortened(line: str) -> str:
    """A command as it is typed, with what makes it quick; the user's own data stay whole."""
    words = shlex.split(line)
    if words[1] in ("generate", "evaluate"):
        return f"{line} generation.max_new_tokens=20"
    if not {words[1], " ".join(words[1:3])} & OF_A_RUN:
        return line
    if "-m" in words and words[1] == "train":
        words = [re.sub(r"^(trainer\.\w+=)\d+", r"\g<1>2", word) for word in words]
        words = [word.partition(",")[0] if word.startswith("optimizer") else word for word in words]  # two jobs, not four
        words.append("hydra/launcher=basic")  # in this process: seconds less for each
    keys = {word.partition("=")[0] for word in words}
    words += [word for word in SMALL if word.partition("=")[0] not in keys]
    words += ["model.block_size=32"] * (words[1] == "doctor")  # of whose figures the page says nothing
    if "data=mine" in words:
        words += ["data.sources.mine.questions=2", *(f"data.sources.world.{option}" for option in OF_THE_WORLD)]
    elif "data" not in keys:
        words += [f"data.{option}" for option in OF_THE_WORLD]
    return shlex.join(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def walked(folder: Path) -> Walked:
    """Every command of the page, which must end well."""
    torch.set_num_threads(1)
    write_files(PAGE, folder)
    seen: Walked = {}
    with quick_doctor():
        for line in commands(PAGE):
            code, seen[line] = typed(shortened(line), folder)
            assert code == 0, f"{line}\n{seen[line]}"
    return seen


def of(walked: Walked, begin: str, word: str = "") -> str:
    """What was seen of the one command that begins so and has a word."""
    (text,) = [text for line, text in walked.items() if line.startswith(begin) and word in line]
    return text


@pytest.mark.slow
def test_the_machine_and_a_first_run_are_looked_at(walked: Walked) -> None:
    doctor = of(walked, "cai doctor")
    assert "\n  passed " in doctor
    assert "FAILED" not in doctor
    assert "done      2 steps" in of(walked, "cai train trainer=smoke")


def test_the_text_is_read_as_the_page_shows(walked: Walked) -> None:
    (shown,) = [block for block in blocks(PAGE, "text") if "by contact_labels" in block]
    assert shown == of(walked, "cai inspect data data=text", "separator=file")
    (example,) = [block for block in blocks(PAGE, "text") if "[DOC]" in block]
    seen = of(walked, "cai inspect data data=contacts_file")
    for piece in example.split("..."):
        assert piece.strip() in seen


def test_the_tokenizer_is_looked_at(walked: Walked) -> None:
    assert "round trip  exact" in of(walked, "cai inspect tokenizer --config-dir")
    small = of(walked, "cai inspect tokenizer -m")
    (shown,) = [block for block in blocks(PAGE, "text") if "vocab_size=300 23 tokens" in block]
    for line in shown.splitlines()[-3:]:
        assert line in small
    assert "syllables are split into bytes" in small


def test_the_run_says_what_the_page_explains(walked: Walked) -> None:
    seen = of(walked, "cai train --config-dir")
    explained = re.findall(
        r"^\| (\w+) \|", PAGE.read_text(encoding="utf-8").partition("## 4.")[2].partition("## 5.")[0], re.M
    )
    assert len(explained) >= 8
    for name in {*explained} - {"line", "advice"}:  # the head of the table; and so short a run gets no advice
        assert re.search(rf"^  {name} ", seen, re.M), name
    assert re.search(r"^step 2: val loss [\d.]+, [\d.]+ bits per byte$", seen, re.M)
    assert "answers to 2 questions about validation documents:" in seen


def test_it_answers(walked: Walked, folder: Path) -> None:
    asked = [text for line, text in walked.items() if line.startswith("cai generate")]
    assert len(asked) == 4
    assert all("요약:\n-" in text for text in asked)
    assert {path.name for path in (folder / "my_attention").iterdir()} == {"attention.html", "attention.png"}


def test_it_is_measured_and_compared(walked: Walked, folder: Path) -> None:
    assert "answers to 4 questions of my_questions.jsonl:" in of(walked, "cai evaluate")
    assert re.search(r"^ +run +n_layer ", of(walked, "cai compare"), re.M)
    assert (folder / "outputs/sizes/comparison/report.html").is_file()


def test_it_is_repeated_and_handed_on(walked: Walked, folder: Path) -> None:
    assert "losses are equal to the bit" in of(walked, "cai reproduce")
    assert "greedy" in of(walked, "cai export")
    assert (folder / "my_model/model.safetensors").is_file()
    assert "outputs/mine" in of(walked, "cai list")


def test_the_material_is_fictional_and_answerable() -> None:
    files = named_files(PAGE)
    records = [json.loads(line) for line in files["my_organisations.jsonl"].splitlines()]
    assert len({record["name"] for record in records}) == len(records) > 10
    every = "\n".join(text for name, text in files.items() if not name.endswith(".yaml"))
    assert all(host.endswith(".invalid") for host in re.findall(r"(?:https://|@)([\w.-]+)", every))
    assert all(re.fullmatch(r"0\d{1,2}-\d{3,4}-\d{4}", record["tel"]) for record in records)
    for case in map(json.loads, files["my_questions.jsonl"].splitlines()):
        assert all(answer in case["doc"] for answer in case["answers"])
    assert files["my_text/market.txt"].split()[0] not in {record["name"] for record in records}  # never seen in training


def test_both_languages_are_the_same_path() -> None:
    assert blocks(KOREAN, "sh") == blocks(PAGE, "sh")
    assert named_files(KOREAN) == named_files(PAGE)
    assert blocks(KOREAN, "text") == blocks(PAGE, "text")
    assert [depth for depth, _ in headings(KOREAN)] == [depth for depth, _ in headings(PAGE)]
    assert [text[:2] for depth, text in headings(PAGE) if depth == 2][:7] == [f"{number}." for number in range(1, 8)]


@pytest.mark.parametrize("page", [PAGE, KOREAN], ids=["en", "ko"])
def test_links_and_pictures_are_there(page: Path) -> None:
    assert dead_links(page) == []
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert len(pictures) == 3
    for picture in pictures:
        assert 5_000 < (page.parent / picture).stat().st_size < PICTURE_BYTES


def test_a_dead_link_and_a_file_without_a_name_are_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Two words!\n[a](#two-words) [b](#other) [c](none.md)\n`my_a.txt`:\n\n```text\na\n```\n\n```text\nb\n```\n"
    )
    assert dead_links(page) == ["#other", "none.md"]
    assert named_files(page) == {"my_a.txt": "a\n"}
