"""The README is true: its commands run as written, in order, in one scratch folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
)
"""What a train command gets appended, so that it takes seconds."""
SMALL_CONTACTS = ("data.samples=150", "data.val_ratio=0.1")
INSTALLING = "pip install"
"""Lines that begin so are run by `.ci/run`, literally."""


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / readme).read_text(encoding="utf-8"), flags=re.M | re.S)


def shell_lines(readme: str) -> list[str]:
    lines = [line for block in blocks(readme, "sh") for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.strip()]


def environment() -> dict[str, str]:
    """The interpreter's own folder first on the path, so that `cai` is the one under test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}


def shorten(line: str) -> str:
    if not line.startswith("cai train"):
        return line
    words = shlex.split(line)
    own_data = any(word.startswith("data=") for word in words)
    keys = {word.partition("=")[0] for word in words}
    extra = [word for word in (*SMALL, *(() if own_data else SMALL_CONTACTS)) if word.partition("=")[0] not in keys]
    return f"{line} {shlex.join(extra)}"


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


@pytest.mark.parametrize("readme", READMES)
def test_every_command_runs_as_written(readme: str, tmp_path: Path) -> None:
    text = "\n\n".join(f"옛날 옛적 {i}번째 마을에 사람이 {i % 9}명 살았다." for i in range(400))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    for language in ("python", "yaml"):
        for block in blocks(readme, language):
            if named := re.match(r"# (my_\S+)\n", block):
                (tmp_path / named[1]).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / named[1]).write_text(block, encoding="utf-8")
    subprocess.run(["cai", "train", *SMALL, *SMALL_CONTACTS], cwd=tmp_path, env=environment(), check=True)
    ran = 0
    for line in shell_lines(readme):
        if line.startswith(INSTALLING):
            continue
        if line.startswith("tensorboard"):
            run_tensorboard(line, tmp_path)
        else:
            done = subprocess.run(
                shorten(line), shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 7


@pytest.mark.parametrize("readme", READMES)
def test_the_python_blocks_run_as_written(readme: str, tmp_path: Path) -> None:
    (block,) = [block for block in blocks(readme, "python") if not block.startswith("# my_")]
    assert len([line for line in block.splitlines() if line.strip()]) <= 9
    small = block.replace(
        '"trainer=smoke"', ", ".join(repr(word) for word in ("trainer=smoke", *SMALL[1:], *SMALL_CONTACTS))
    )
    assert small != block
    done = subprocess.run(
        [sys.executable, "-c", small], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.strip().splitlines()[-1]) > 0


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
