"""docs/deploy.md is true: every block of Python on it is run, and writes what CAI itself does."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.composition import compose
from cai.config.exporting import FORMATS
from cai.config.saved import save_config
from cai.exchange.base import Source, format_of
from cai.exchange.huggingface import code_in_passing
from cai.exchange.huggingface import quiet as quiet_transformers
from cai.exports import EXPORT
from cai.markup import Part, document_parts, prompt_parts
from cai.model.base import IGNORE_INDEX
from cai.run import TOKENIZER
from cai.runs import CONFIG
from tests.exchange.llama_cpp import needs_llama_cpp
from tests.exchange.making import make_source
from tests.generating import generate

DOCS = Path(__file__).parents[1] / "docs"
PAGE, KOREAN = (folder / "deploy.md" for folder in (DOCS, DOCS / "ko"))
FOLDER = re.compile(r'^folder = "(outputs/run/<date_time>/exports/(\w+))"$', re.M)

QUESTION, DOCUMENT = "가온솔병원 전화번호 알려줘", "가온솔병원\n대표전화: 02-2345-6789"
"""What the page asks."""
BEGUN = "요약:\n-"
ANSWER = f"{BEGUN} 대표전화는 02-2345-6789입니다."
"""What the models of this file have learned to answer, and nothing else."""

SMALL = "model.n_layer=1"
"""Half the time to make graphs of."""


def fenced(page: Path, language: str = r"\w+") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def format_named(block: str) -> str:
    """Of the folder that a block opens."""
    (found,) = FOLDER.findall(block)
    return str(found[1])


BLOCKS = {format_named(block): block for block in fenced(PAGE, "python")}


@pytest.fixture(scope="module")
def source_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    """A model that has learned the answer, of each family once."""
    torch.set_num_threads(1)
    sources: dict[str, Source] = {}

    def source(family: str) -> Source:
        if family not in sources:
            sources[family] = make_source(tmp_path_factory.mktemp(family), f"model={family}", SMALL, "generation=greedy")
            learn(sources[family], document_parts(QUESTION, DOCUMENT, ANSWER))
        return sources[family]

    return source


def learn(source: Source, parts: tuple[Part, ...]) -> None:
    """Repeat one document until it is known by heart."""
    model, ids = source.trained.model, torch.tensor([source.trained.tokenizer.encode_parts(parts)])
    asked = len(source.trained.tokenizer.encode_parts(prompt_parts(QUESTION, DOCUMENT)))
    targets = torch.full_like(ids[:, 1:], IGNORE_INDEX)
    targets[:, asked - 1 :] = ids[:, asked:]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], targets[0], ignore_index=IGNORE_INDEX)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def text_by_cai(source: Source) -> str:
    """Its own greedy answer."""
    options = compose(["generation=greedy", "generation.max_new_tokens=40"]).generation
    generator = options.build(source.trained.model, source.trained.tokenizer)
    return f"{BEGUN}{generator.text(prompt_parts(QUESTION, DOCUMENT), seed=0)}"


def export(source: Source, to: str, folder: Path) -> Path:
    """Without the comparison, which tests of the formats have."""
    folder.mkdir()
    save_config(source.trained.config, folder / CONFIG)
    source.trained.tokenizer.save(folder / TOKENIZER)
    form = format_of(to)
    form.refuse(source)
    form.write(source, folder, "float32")
    (folder / EXPORT).write_text(f'{{"to": "{to}", "step": {source.trained.step}}}', encoding="utf-8")
    return folder


def run(block: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """What a block prints with ``folder`` for the one it names, and its variables."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(printed):
        warnings.filterwarnings("ignore", r"`torch.jit.\w+` is deprecated", DeprecationWarning)
        exec(compile(FOLDER.sub(f"folder = {str(folder)!r}", block), "docs/deploy.md", "exec"), names)
    return printed.getvalue(), names


def prompt_in(names: dict[str, Any]) -> list[int]:
    """The ids that a block has made of its question."""
    ids = names["inputs"]["input_ids"][0].tolist() if "inputs" in names else names["ids"]
    return [int(number) for number in ids]


def test_every_format_has_a_block() -> None:
    assert len(fenced(PAGE, "python")) == len(BLOCKS)
    assert BLOCKS.keys() == set(FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("to", [to for to in FORMATS if to != "gguf"])
def test_a_block_writes_what_cai_writes(to: str, source_of: Callable[[str], Source], tmp_path: Path) -> None:
    source = source_of("gpt2" if to == "safetensors" else "llama")  # the page computes a GPT-2 by itself
    expected = text_by_cai(source)
    assert expected.rstrip() == ANSWER
    quiet: AbstractContextManager[None] = quiet_transformers() if to == "huggingface" else nullcontext()
    with quiet:
        printed, names = run(BLOCKS[to], export(source, to, tmp_path / to))
    assert printed.rstrip() == expected.rstrip()
    assert prompt_in(names) == source.trained.tokenizer.encode_parts(prompt_parts(QUESTION, DOCUMENT))


def test_modern_needs_but_one_word_more_in_transformers(source_of: Callable[[str], Source], tmp_path: Path) -> None:
    source = source_of("modern")
    word = "trust_remote_code=True"
    block = BLOCKS["huggingface"].replace("from_pretrained(folder)", f"from_pretrained(folder, {word})")
    assert block.count(word) == 2
    assert f"`{word}`" in PAGE.read_text(encoding="utf-8")
    with quiet_transformers(), code_in_passing():
        printed, names = run(block, export(source, "huggingface", tmp_path / "huggingface"))
    assert printed.rstrip() == ANSWER
    assert prompt_in(names) == source.trained.tokenizer.encode_parts(prompt_parts(QUESTION, DOCUMENT))


@needs_llama_cpp
def test_the_block_for_llama_cpp_writes_what_cai_writes(source_of: Callable[[str], Source], tmp_path: Path) -> None:
    """In a process of its own: llama.cpp takes over signals."""
    block = FOLDER.sub(f"folder = {str(export(source_of('llama'), 'gguf', tmp_path / 'gguf'))!r}", BLOCKS["gguf"])
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == text_by_cai(source_of("llama")).rstrip() == ANSWER


def test_cai_reads_the_folder_as_the_page_says(
    source_of: Callable[[str], Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "cai generate run=outputs/run/<date_time>/exports/safetensors " in PAGE.read_text(encoding="utf-8")
    folder = export(source_of("llama"), "safetensors", tmp_path / "safetensors")
    text, _ = generate(capsys, [f"run={folder}", f"question={QUESTION}", f"doc={DOCUMENT}", "generation=greedy"])
    assert text.rstrip() == ANSWER


@pytest.mark.parametrize("to", FORMATS)
def test_the_table_has_every_precision(to: str) -> None:
    for page in (PAGE, KOREAN):
        (row,) = (line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{to}` |"))
        assert row.split("|")[3].replace("`", "").replace(" ", "").split(",") == list(format_of(to).PRECISIONS)


def test_the_korean_page_has_the_same_blocks_and_sections() -> None:
    assert fenced(KOREAN) == fenced(PAGE)
    heads = [re.findall(r"^(#+) ", page.read_text(encoding="utf-8"), flags=re.M) for page in (PAGE, KOREAN)]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("page", [PAGE, KOREAN], ids=["en", "ko"])
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link
