"""``cai inspect tokenizer``: of a file, of a run, and of what the words compose."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cai.cli import main
from cai.tokenizer.base import Tokenizer
from tests.conftest import TINY, run_directories, train_tiny
from tests.tokenizer.layouts import gpt2

CONTACTS = tuple(override for override in TINY if override.startswith("data."))
COLOUR = "\x1b["


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny run, in a folder of its own that tests copy from."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train_tiny()


@pytest.fixture
def run(trained: Path, scratch: Path) -> Path:
    """A copy of the run, in ``outputs/`` of an empty current folder."""
    target = scratch / "outputs" / "run" / trained.name
    shutil.copytree(trained, target)
    return target


@pytest.fixture
def file(scratch: Path) -> Path:
    """A file of another program."""
    gpt2().save("own.json")
    return scratch / "own.json"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["inspect", "tokenizer", *words]) == 0
    return capsys.readouterr().out


def test_a_run_is_shown_over_its_own_validation_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "run=last")
    assert text.startswith(str(run.relative_to(Path.cwd())))
    assert re.search(r"vocabulary +400 tokens, 8 of them special", text)
    assert "over validation text (" in text
    assert re.search(r"round trip +exact for all of \d+ texts", text)
    assert re.search(r"split +\d+\.\d\d% of [\d,]+ Hangul syllables", text)


def test_a_run_without_its_text_is_shown_over_the_text_given(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("\n\n".join(f"문단 {i}번, 하늘은 {i % 7}번 푸르다." for i in range(300)), encoding="utf-8")
    tiny = [override for override in TINY if not override.startswith("data.")]
    train_tiny("data=text", "data.path=a.txt", "trainer.max_steps=1", tiny=tiny)
    Path("a.txt").unlink()
    assert "over the text given" in said(capsys, "run=last", "text=하늘은 푸르다")
    assert "over" not in said(capsys, "run=last")
    main(["inspect", "tokenizer", "run=last"])
    assert "note: without the run's own text, as data.path" in capsys.readouterr().err


def test_a_file_of_another_program_is_shown_as_it_would_be_trained_with(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, f"path={file}")
    assert "byte-level BPE" in text
    assert "<|endoftext|> 0, <eos> 700" in text
    assert "over" not in text


@pytest.mark.parametrize("text", ["a, [b] ${x} 'c'", "a=b, {c}", "[QUESTION]", "-m", ""])
def test_a_text_is_taken_as_it_was_typed_and_shown_token_by_token(
    file: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    shown = said(capsys, f"path={file}", f"text={text}").rpartition(" characters:\n")[2]
    assert COLOUR not in shown, "not a terminal"
    assert shown.replace("|", "") == text + "\n"
    assert "|" in shown or not text


def test_tags_in_a_text_are_ordinary_unless_asked_for(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (f"path={file}", "text=[ANSWER]가")
    assert "[ANSWER]|" not in said(capsys, *words)
    assert "[ANSWER](706)|" in said(capsys, *words, "parse_tags=true", "ids=true")


def test_on_a_terminal_tokens_are_coloured_unless_no_color_says_otherwise(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"path={file}", "text=전화 번호")
    monkeypatch.setattr("cai.inspect.is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOUR in said(capsys, *words)
    monkeypatch.setenv("NO_COLOR", "1")
    assert COLOUR not in said(capsys, *words)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert COLOUR not in said(capsys, *words)


def test_what_training_would_learn_is_learned_shown_and_found_again_by_it(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(capsys, *CONTACTS, "tokenizer=bpe", "tokenizer.vocab_size=400")
    assert "vocabulary  400 tokens" in text
    assert run_directories(Path("outputs")) == []
    monkeypatch.setattr("cai.tokenizer.bpe.BPEConfig.build", lambda *_: pytest.fail("learned again"))
    directory = train_tiny("trainer.max_steps=1")
    (learned,) = Path("outputs/cache/tokenizers").glob("[!.]*/tokenizer.json")
    assert (directory / "tokenizer.json").read_bytes() == learned.read_bytes()


@pytest.mark.slow
def test_the_estimate_of_train_tokens_is_what_training_counts(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *CONTACTS, "tokenizer=bpe", "tokenizer.vocab_size=400", "model.n_embd=16", "model.n_head=2")
    row = text.partition("train tokens")[2].splitlines()[1].split()
    directory = train_tiny("trainer.max_steps=1")
    log = (directory / "train.log").read_text(encoding="utf-8")
    (counted,) = re.findall(r"([\d,]+) train \+ [\d,]+ val, vocabulary", log)
    estimated, embedding = (int(word.replace(",", "")) for word in row[-2:])
    assert estimated == pytest.approx(int(counted.replace(",", "")), rel=0.05)
    assert embedding == 400 * 16


def test_several_are_compared_in_a_table(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "-m", *CONTACTS, "tokenizer.vocab_size=300,400,500", "text=전화")
    table = [line for line in text.splitlines() if re.search(r"  tokenizer\.vocab_size=\d+$", line)]
    assert [line.split()[0] for line in table] == ["300", "400", "500"]
    bytes_per_token = [float(line.split()[1]) for line in table]
    assert bytes_per_token == sorted(bytes_per_token)
    assert "tokenizer.vocab_size=500 2 tokens" in text or "tokens for 2 characters:" in text
    assert "warning: " in text
    assert len(list(Path("outputs/cache/tokenizers").glob("[!.]*"))) == 3


def test_kinds_can_be_compared_too(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "-m", *CONTACTS, "tokenizer=byte,char")
    assert [line.split()[0] for line in text.splitlines()[1:2]] == ["264"]
    assert text.splitlines()[2].endswith("tokenizer=char")


def test_a_tokenizer_that_loses_text_is_shown_and_ends_with_its_problem(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Tokenizer.encode_batch
    monkeypatch.setattr(
        Tokenizer, "encode_batch", lambda self, batch: original(self, [[p.replace("전화", "") for p in d] for d in batch])
    )
    assert main(["inspect", "tokenizer", *CONTACTS, "tokenizer.vocab_size=300"]) == 2
    captured = capsys.readouterr()
    assert "changed" in captured.out
    assert "tokenizer must give every text back exactly" in captured.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["inspect must be told what to look at (", "tokenizer", "told nothing", "cai inspect tokenizer run=last"]),
        (["tokenzier"], ["is told tokenzier"]),
        (["tokenizer", "run=a", "path=b"], ["at most one of run and path", "both are"]),
        (["tokenizer", "ids=true"], ["ids goes with text"]),
        (["tokenizer", "parse_tags=true"], ["parse_tags goes with text"]),
        (["tokenizer", "run=nowhere"], ["run must be a run directory", "nowhere"]),
        (["tokenizer", "run=last"], ["run=last needs a run"]),
        (["tokenizer", "path=nowhere.json"], ["path must name a tokenizer.json", "nowhere.json"]),
        (["tokenizer", "path=a.json", "data.path=b"], ["`data.path=b` must be left out beside run= or path="]),
        (["tokenizer", "path=a.json", "-m"], ["`-m` must be left out"]),
        (["tokenizer", "path=a.json", "nonsense"], ["`nonsense`", "key=value"]),
        (["tokenizer", "tokenizer.vocab_size=300,400"], ["`tokenizer.vocab_size`", "add -m"]),
        (["tokenizer", "tokenizer.vocab_sise=300"], ["Did you mean tokenizer.vocab_size?"]),
        (["tokenizer", "data=text", "data.path=nowhere.txt"], ["data.path", "nowhere.txt"]),
        (["tokenizer", "tokenizer=pretrained"], ["`tokenizer.path` must be given"]),
        (["tokenizer", "tokenizer=pretrained", "tokenizer.path=no.json"], ["tokenizer.path must name", "no.json"]),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    scratch: Path, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    assert main(["inspect", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(part in captured.err for part in parts), captured.err
    assert "Traceback" not in captured.err
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_the_tokenizer_of_a_file_is_shown_without_pytorch(file: Path) -> None:
    code = (
        "import sys; from cai.cli import main; assert main(['inspect', 'tokenizer', 'path=own.json', 'text=가']) == 0;"
        " assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_m_is_the_verb(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "cai.inspect", "tokenizer", "path=own.json"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == said(capsys, "path=own.json")
