"""A conversation: questions, commands, Ctrl-C, and lines from a terminal or a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.chat import Ask, Chat, ask_pipe, terminal
from cai.composition import compose
from cai.decoding.row import Piece, Row
from cai.device import DeviceConfig
from cai.errors import ConfigError
from cai.generation import Generator
from cai.trained import TrainedRun, load_trained
from tests.generating import copy_run, generate, make_run

WORDS = ("interactive=true", "generation.max_new_tokens=8")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def trained(directory: Path) -> TrainedRun:
    device = compose(WORDS, root="generate").device
    assert isinstance(device, DeviceConfig)
    return load_trained(directory, "best", device.build())


@pytest.fixture
def talk(trained: TrainedRun, scratch: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Answers and remarks to some lines."""

    def talk(*lines: str, words: tuple[str, ...] = WORDS) -> tuple[str, str]:
        chat = Chat(compose(words, root="generate"), words, trained)
        capsys.readouterr()
        chat.run(scripted(lines))
        said = capsys.readouterr()
        return said.out, said.err

    return talk


def scripted(lines: tuple[str, ...]) -> Ask:
    waiting = iter(lines)

    def ask() -> str:
        for line in waiting:
            return line
        raise EOFError

    return ask


def alone(trained: TrainedRun, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says to one question."""
    return generate(capsys, ["generation.max_new_tokens=8", *words])[0] + "\n"


Talk = Callable[..., tuple[str, str]]


def test_an_answer_is_what_the_command_says(
    talk: Talk, trained: TrainedRun, directory: Path, scratch: Path, capsys: Any
) -> None:
    copy_run(directory, scratch)
    document = "전화 02-1234-5678"
    expected = [
        alone(trained, capsys, "question=가?"),
        alone(trained, capsys, "question=가?", f"doc={document}"),
        alone(trained, capsys, "question=가?", f"doc={document}", "seed=2", "generation.temperature=2.0"),
    ]
    assert len(set(expected)) == 3
    text, _ = talk(
        "가?", "", f"/doc {document}", "가?", "/set seed=2 generation.temperature=2.0", " 가? ", "/doc", "/set seed=1337"
    )
    assert text == "".join(expected)
    Path("문서.txt").write_text(f"\ufeff{document}\n", encoding="utf-8")
    assert talk("/doc @문서.txt", "가?")[0] == expected[1]
    assert talk("가?", words=(*WORDS, f"doc={document}"))[0] == expected[1]
    assert talk("/doc", "가?", words=(*WORDS, f"doc={document}"))[0] == expected[0]


def test_a_group_takes_the_place_of_its_options(talk: Talk) -> None:
    _, beside = talk("/set generation.top_k=7", "/set generation=greedy", "/set generation.stop='[a, b]'", "/set")
    for line in ("seed=1337", "generation.temperature=0.0", "generation.top_k=0", 'generation.stop=["a", "b"]'):
        assert line in beside.splitlines()
    assert "generation.max_new_tokens=400" in beside  # the command line's is gone with the others


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("/set generation.temperature=-1", "`generation.temperature` must be at least 0"),
        ("/set generation.temprature=1", "Did you mean generation.temperature?"),
        ("/set generation=bold", "`generation` must be one of"),
        ("/set seed", "key=value"),
        ("/set run=last", "`run` must be seed, generation or an option of it"),
        ("/set generation.stop='[a", "cannot be read (No closing quotation)"),
        ("/doc @nowhere.txt", "/doc @ must name a text file, but nowhere.txt cannot be read (No such file"),
        ("/doc @latin.txt", "latin.txt cannot be read (not UTF-8)"),
        ("/dco x", "`/dco` must be one of /doc, /set, /help, /quit. Did you mean /doc?"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(talk: Talk, line: str, part: str) -> None:
    Path("latin.txt").write_bytes(b"\xe9")
    answer, _ = talk("가?")
    text, beside = talk(line, "가?")
    assert part in beside
    assert text == answer


def test_help_and_quit(talk: Talk) -> None:
    text, beside = talk("/help", "/quit", "가?")
    assert text == ""
    for command in ("/doc", "/set", "/quit", "Ctrl-D"):
        assert command in beside


def test_ctrl_c_stops_one_answer(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = talk("가?")
    pieces = Generator.pieces
    asked: list[int] = []

    def interrupted(self: Generator, *arguments: Any) -> Iterator[tuple[Row, Piece]]:
        asked.append(1)
        for number, pair in enumerate(pieces(self, *arguments)):
            if number == 2 and len(asked) == 1:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(Generator, "pieces", interrupted)
    text, beside = talk("가?", "가?")
    assert "(stopped)" in beside
    assert text.startswith("요약:\n-")
    assert text.endswith(whole)
    assert len(text) < 2 * len(whole)


def test_advice_and_tokens_come_with_each_answer(talk: Talk) -> None:
    text, beside = talk("가?", "/set generation.show=top2", "나?")
    assert beside.count("before its [/ANSWER]. Try generation.max_new_tokens=600.") == 2
    assert text.count("%") == 16


def test_lines_come_from_a_pipe(directory: Path, scratch: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_run(directory, scratch)
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)  # not needed
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO("/set seed=3\n가?\n".encode() + b"\xff\n" + "나?".encode()))
    )
    text, beside = generate(capsys, list(WORDS))
    assert text.count("요약:\n-") == 2
    assert "a question must be UTF-8, but b'\\xff\\n' is not" in beside
    assert not Path("outputs/cache").exists()
    with pytest.raises(EOFError):
        ask_pipe()


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_a_missing_package_is_named(scratch: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.generate.load_trained", lambda *_: pytest.fail("a model is loaded"))
    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO()))
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    assert 'pip install "cai[chat]"' in generate(capsys, list(WORDS), code=2)[1]
    with pytest.raises(ConfigError, match="prompt_toolkit"):
        terminal(Path("history"))


def test_lines_are_typed_edited_and_remembered(scratch: Path) -> None:
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    history = Path("outputs/cache/chat_history")
    with create_pipe_input() as keys:
        ask = terminal(history, input=keys, output=DummyOutput())
        keys.send_text("전화번호는?\x08!\r")
        assert ask() == "전화번호는!"
        keys.send_text("half a line\x03")
        assert ask() == ""
        keys.send_text("\x1b[A\r")  # the one before
        assert ask() == "전화번호는!"
        keys.send_text("\x04")
        with pytest.raises(EOFError):
            ask()
    assert "전화번호는!" in history.read_text(encoding="utf-8")
