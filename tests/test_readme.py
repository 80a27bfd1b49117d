"""The README is true: its commands run as written, in order, in one scratch folder."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands, shortened, typed, write_files

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.ko.md"]
SMALL = (
    "trainer=smoke",
    "trainer.max_steps=4",
    "trainer.eval_max_tokens=2048",
    "model.n_embd=16",
    "model.block_size=64",
    "tokenizer.vocab_size=500",
    "device=cpu",
    "device.threads=1",
    "generation.max_new_tokens=5",
    "data.samples=150",
    "data.val_ratio=0.1",
)
"""What a train command gets appended, so that it takes seconds."""
INSTALLING = "pip install"
"""Lines that begin so are run by `.ci/run`, literally."""


def shell_lines(readme: str) -> list[str]:
    return commands(ROOT / readme)


def files(readme: str) -> list[str]:
    """The blocks that are files, or code."""
    return [block for language in ("python", "yaml") for block in blocks(ROOT / readme, language)]


def run_tensorboard(line: str, folder: Path) -> None:
    """A server does not end by itself: it must come up, and is then ended."""
    command = [sys.executable, "-m", "tensorboard.main", *shlex.split(line)[1:], "--port", "0", "--load_fast", "false"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any(" at http://" in text for text in process.stderr), line
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stderr.close()  # type: ignore[union-attr]


def test_both_languages_have_the_same_commands_and_files() -> None:
    assert shell_lines(READMES[0]) == shell_lines(READMES[1])
    assert files(READMES[0]) == files(READMES[1])


@pytest.mark.slow
def test_every_command_runs_as_written(tmp_path: Path) -> None:
    text = "\n\n".join(f"옛날 옛적 {i}번째 마을에 사람이 {i % 9}명 살았다." for i in range(400))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    write_files(ROOT / READMES[0], tmp_path)
    lines = [line for line in shell_lines(READMES[0]) if not line.startswith(INSTALLING)]
    assert len(lines) >= 7
    for line in ("cai train", *lines):
        if line.startswith("tensorboard"):
            run_tensorboard(line, tmp_path)
        else:
            code, seen = typed(shortened(line, SMALL), tmp_path)
            assert code == 0, f"{line}\n{seen}"


@pytest.mark.slow
def test_the_python_block_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for block in blocks(ROOT / READMES[0], "python") if not block.startswith("# my_")]
    assert len([line for line in block.splitlines() if line.strip()]) <= 9
    small = block.replace('"trainer=smoke"', ", ".join(map(repr, SMALL)))
    assert small != block
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(small, READMES[0], "exec"), {})
    assert float(printed.getvalue().strip().splitlines()[-1]) > 0


@pytest.mark.parametrize("readme", READMES)
def test_the_install_and_test_lines_are_what_ci_runs(readme: str) -> None:
    script = (ROOT / ".ci" / "run").read_text()
    lines = [line for line in shell_lines(readme) if line.startswith(INSTALLING)]
    assert lines == ["pip install -e . && cai train", 'pip install -e ".[dev]" && pytest']
    for line in lines:
        assert f"readme_command '{line}'" in script


@pytest.mark.parametrize("readme", READMES)
def test_every_group_choice_is_listed(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    for group in sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir()):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{group.name}` "))
        for choice in group.glob("*.yaml"):
            assert f"`{choice.stem}`" in row, (group.name, choice.stem)


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    links = re.findall(r"\]\(([^)#]+?)\)", (ROOT / readme).read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert link.startswith("http") or (ROOT / link).exists(), link
