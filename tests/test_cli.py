"""The program as it is called: help, exit codes, and that a mistake leaves nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

import cai
from cai.cli import VERBS, main
from cai.composition import compose
from cai.config.validate import leaf_paths
from cai.resources import conf_folder
from tests.conftest import TINY, run_directories

pytestmark = pytest.mark.usefixtures("scratch")

GROUPS = ("model", "data", "tokenizer", "optimizer", "schedule", "trainer", "device", "generation", "experiment")


def python(*words: str, cwd: Path | None = None) -> str:
    """What a fresh interpreter prints, which must succeed without a warning."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The message of a mistake: exit code 2, no traceback, nothing on standard output, nothing on disk."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("cai.train.train", lambda config, run: pytest.fail("training began"))

    def message(*words: str) -> str:
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert list(Path.cwd().iterdir()) == []
        return said.err

    return message


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_verb_and_shows_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Examples:\n  cai train" in said
    assert "cai train -m model.n_layer=4,6" in said
    assert all(f"\n  {verb} " in said for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_of_every_verb_begins_with_examples(verb: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, flag, "and=whatever"]) == 0
    assert f"\n\n  cai {verb}" in capsys.readouterr().out[:200]


def test_the_help_of_train_shows_all_groups_choices_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    for group in GROUPS:
        choices = sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
        assert f"  {group:<12}{', '.join(choices)}\n" in said
    for path in leaf_paths(compose().model_dump()):
        assert f"  {path.rpartition('.')[2]}: " in said, path
    assert "cai train -m" in said


def test_the_help_of_generate_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--help"]) == 0
    said = capsys.readouterr().out
    for option in ("run", "checkpoint", "question", "doc", "prompt", "temperature", "top_k", "max_new_tokens", "precision"):
        assert f"  {option}: " in said
    assert 'question="' in said


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cai {version('cai')}\n"


@pytest.mark.parametrize(
    "code",
    [
        "import cai",
        "from cai.cli import main; main(['--help'])",
        "from cai.cli import main; main([])",
        "from cai.cli import main; main(['train', '--help'])",
        "from cai.cli import main; main(['generate', '--help'])",
    ],
)
def test_help_imports_nothing_heavy(code: str) -> None:
    heavy = {"torch", "hydra", "omegaconf", "numpy", "pydantic", "tokenizers", "yaml", "tqdm"}
    said = python("-c", f"{code}\nimport sys; print(); print(*sys.modules)")
    assert heavy & set(said.splitlines()[-1].split()) == set()


def test_python_m_cai_is_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert python("-m", "cai", "--help") == capsys.readouterr().out


def test_python_m_with_a_verb_is_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    assert python("-m", "cai.train", "--help") == capsys.readouterr().out


def test_the_package_offers_exactly_what_it_names() -> None:
    assert all(callable(getattr(cai, name)) for name in cai.__all__)
    with pytest.raises(AttributeError, match="nothing_such"):
        cai.nothing_such  # noqa: B018


@pytest.mark.parametrize(
    ("verb", "parts"),
    [
        ("trian", ["`trian`", "train, generate", "Did you mean train?"]),
        ("model=gpt2", ["`model=gpt2`", "one of the verbs"]),
        ("--verbose", ["`--verbose`", "one of the verbs"]),
    ],
)
def test_an_unknown_verb_is_answered_with_those_there_are(verb: str, parts: list[str], refuse: Callable[..., str]) -> None:
    message = refuse(verb)
    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trainer.max_step=3"], ["`trainer.max_step`", "Did you mean trainer.max_steps?"]),
        (["model=gtp2"], ["`model` must be one of from_pretrained, gpt2,", "but is gtp2", "Did you mean gpt2?"]),
        (["model.n_layer=four"], ["`model.n_layer` must be a whole number, but is 'four'."]),
        (
            ["model=gpt2", "model.n_embd=101", "model.n_head=4"],
            ["model.n_embd must be a multiple of model.n_head (4), but is 101. Try 100 or 104."],
        ),
        (["trainer.grad_accum_steps=4"], ["derived", "trainer.batch_size", "trainer.micro_batch_size"]),
        (["model"], ["`model`", "key=value"]),
        (["--verbose"], ["`--verbose`", "--multirun"]),
        (["model.n_layer=[1,2"], ["`model.n_layer=[1,2`", "cannot be read"]),
        (["optimizer.lr=1e-3,3e-3"], ["`optimizer.lr`", "add -m"]),
        (["experiment=cai_m3"], ["`experiment`", "Did you mean cai_m4?"]),
        (["model=null"], ["`model`"]),
        (["optimizer.betas.x=1"], ["`optimizer.betas"]),
        (["data=text"], ["`data.path` must be given", "data.path=<value>"]),
        (["data=text", "data.path=나의 글.txt"], ["data.path", "나의 글.txt does not exist"]),
        (["device=cuda"], ["`device.type` must be a device of this machine (cpu", "but is cuda", "Try device=auto."]),
        (["device=cpu", "device.precision=fp16"], ["`device.precision`", "fp32, bf16 or fp64", "but is fp16"]),
        (["--config-dir", "nowhere"], ["--config-dir", "folder", "nowhere"]),
        (["--config-dir"], ["--config-dir", "folder"]),
        (["output_dir=a ${seed} b"], ["`output_dir`", "${"]),
        (["name=a/b", "seed=-1"], ["`name`", "`seed`"]),
        (["model=gtp2", "seed=true", "trainer.max_step=3", "[="], ["`model`", "`seed`", "`trainer.max_step`", "`[=`"]),
    ],
)
def test_a_mistake_in_train_is_one_message_and_leaves_nothing(
    words: list[str], parts: list[str], refuse: Callable[..., str]
) -> None:
    message = refuse("train", *words)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["hydra.job.chdr=true"], ["`hydra.job.chdr`", "no such option", "Did you mean hydra.job.chdir?"]),
        (["hydra.jbo.name=x"], ["`hydra.jbo.name`", "Did you mean hydra.job.name?"]),
        (["hydra.run.dir=elsewhere"], ["`hydra.run.dir`", "name", "output_dir"]),
        (["-m", "hydra.sweep.dir=elsewhere", "seed=1,2"], ["`hydra.sweep.dir`", "name", "output_dir"]),
        (["-m", "hydra.sweep.subdir=x", "seed=1,2"], ["`hydra.sweep.subdir`"]),
        (["hydra.job.chdir=true"], ["`hydra.job.chdir`"]),
        (["hydra.mode=MULTIRUN"], ["`hydra.mode`", "-m"]),
        (["hydra/launcher=joblib"], ["hydra/launcher", "joblib", "basic"]),
        (["hydra=x"], ["hydra"]),
    ],
)
def test_hydras_own_options_cannot_be_mistyped_or_move_a_run(
    words: list[str], parts: list[str], refuse: Callable[..., str]
) -> None:
    message = refuse("train", *words)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generate"], "exactly one of question, prompt, file and interactive=true"),
        (["generate", "question=a", "qestion=b"], "Did you mean question?"),
        (["generate", "question=a"], "run=last"),
        (["generate", "question=a", "run=nowhere"], "nowhere"),
        (["reproduce"], "cai reproduce outputs/"),
        (["reproduce", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_in_another_verb_is_one_message_too(words: list[str], part: str, refuse: Callable[..., str]) -> None:
    assert part in refuse(*words)


def test_no_sweep_outside_of_train(refuse: Callable[..., str]) -> None:
    assert "-m" in refuse("generate", "-m", "question=a", "run=nowhere", "generation.top_k=1,2")


@pytest.mark.parametrize(("folder", "name"), [("outputs", "실험1"), ("나의 $HOME, (1)", "a=b, c")])
def test_a_run_has_all_its_files_in_the_folder_it_is_told(
    folder: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *TINY, "trainer.max_steps=1", f"output_dir={folder}", f"name={name}"]) == 0
    (directory,) = run_directories(Path())
    assert directory.parent == Path(folder) / name
    assert (directory / ".hydra" / "config.yaml").is_file()
    assert {path.name for path in Path(folder).iterdir()} == {"cache", name}
    assert [path.name for path in Path().iterdir()] == [folder]
    assert str(directory) in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["resume", "reproduce"])
def test_help_shows_examples_and_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    for part in (f"cai {verb} outputs/run/", f"cai {verb} last", "data.path=", "Exit code 0"):
        assert part in said
    codes = {"resume": ("143", "130", "trainer.max_steps="), "reproduce": ("3:", "4:", "check_only", "tolerance")}
    assert all(part in said for part in codes[verb])


def test_a_reader_that_goes_away_is_no_error_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("cai.generate.main", broken)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    assert main(["generate", "run=last"]) == 141
    assert sys.stdout.name == os.devnull
    sys.stdout.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_nor_is_one_of_its_help(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    unread = os.fdopen(write, "w", buffering=1)
    monkeypatch.setattr("sys.stdout", unread)
    assert main(words) == 141
    assert sys.stdout.name == os.devnull
    sys.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        unread.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("rank", "size", "speaks"), [("0", "2", True), ("1", "2", False), ("1", "1", True), (None, None, True)]
)
def test_of_the_processes_of_torchrun_the_first_one_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str | None, size: str | None, speaks: bool
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        if value is not None:
            monkeypatch.setenv(name, value)

    def says(words: list[str]) -> int:
        logging.getLogger("cai.anything").info("hello")
        return 0

    monkeypatch.setitem(sys.modules, "cai.list", SimpleNamespace(main=says))
    assert main(["list"]) == 0
    assert capsys.readouterr().out == ("hello\n" if speaks else "")
