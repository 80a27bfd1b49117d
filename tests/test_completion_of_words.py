"""What is completed at TAB, asked as a shell asks; and by bash itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cai.cli import VERBS, main
from cai.completion import complete, split
from cai.completion_scripts import SCRIPTS
from cai.config.comments import Sheets, read_sheet
from cai.config.literals import Sources
from cai.inspect import SUBJECTS
from cai.resources import conf_folder
from tests.docs.pages import DOCS, blocks


def asked(line: str, shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ``cai --complete`` answers when the cursor is at the end of ``line``."""
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n\"'><=;|&(:")
    assert main(["--complete", shell]) == 0
    return capsys.readouterr().out.splitlines()


def words_at(line: str) -> list[str]:
    return [candidate.word for candidate in complete(split(line))]


@pytest.fixture
def places(scratch: Path) -> Path:
    """Runs, a file, and a folder of one's own YAMLs."""
    (scratch / "outputs" / "run" / "2026-01-01_00-00-00").mkdir(parents=True)
    (scratch / "my.txt").touch()
    for name, text in (("model/mine", "# Mine.\ndefaults:\n  - gpt2_nano\n  - _self_\n"), ("schedule/own", OWN)):
        (scratch / "my_conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / "my_conf" / f"{name}.yaml").write_text(text)
    (scratch / "my_package").mkdir()
    (scratch / "my_package" / "own.py").write_text(CLASS)
    return scratch


OWN = "_target_: my_package.own.OwnConfig\nwarmup_steps: 1   # steps\nkind: flat\n"
CLASS = """
raise SystemExit("imported")
Kind = Literal["flat", "steep"]
class OwnConfig(ScheduleConfig):
    kind: Kind | None
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cai tr", ["train"]),
        ("cai --ver", ["--version"]),
        ("cai inspect att", ["attention"]),
        ("cai train mod", ["model=", "model."]),
        ("cai train model=gpt2_", ["model=gpt2_cai", "model=gpt2_mini", "model=gpt2_nano", "model=gpt2_small"]),
        ("cai train -m model=gpt2,llama_m", ["model=gpt2,llama_mini"]),
        ("cai train optimizer.l", ["optimizer.lr="]),
        ("cai train optimizer=adamw optimizer.e", ["optimizer.eps="]),
        ("cai train optimizer=sgd optimizer.e", []),
        ("cai train experiment=cai_m4 model.bi", ["model.bias="]),
        ("cai train data=text data.clean.t", ["data.clean.telephones="]),
        ("cai train data=csv 'data.tem", ["data.template="]),
        ("cai train data=csv data.clean.dup", ["data.clean.duplicates="]),
        ("cai train device.precision=f", ["device.precision=fp32", "device.precision=fp16", "device.precision=fp64"]),
        ("cai train trainer.micro_batch_size=", ["trainer.micro_batch_size=auto"]),
        ("cai train trainer.prune=", ["trainer.prune=median", "trainer.prune=asha", "trainer.prune=null"]),
        ("cai train trainer=smoke trainer.max_steps=", ["trainer.max_steps=20"]),
        ("cai train model.bias", []),
        ("cai train model=gpt2 model.bias=", ["model.bias=true", "model.bias=false"]),
        ("cai train see", ["seed="]),
        ("cai train data.path=", []),
        ("cai train +data@data.sources.one=te", ["+data@data.sources.one=text"]),
        ("cai train --conf", ["--config-dir"]),
        ("cai train --config-dir my_c", ["my_conf/"]),
        ("cai train --config-dir my_conf model=mi", ["model=mine"]),
        ("cai train --config-dir my_conf model=mine model.bi", ["model.bias="]),
        ("cai train --config-dir=my_conf schedule=own schedule.kind=f", ["schedule.kind=flat"]),
        ("cai train hydra/la", ["hydra/launcher="]),
        ("cai train hydra.launcher.j", ["hydra.launcher.jobs="]),
        ("cai export to=on", ["to=onnx"]),
        ("cai generate run=la", ["run=last"]),
        ("cai generate run=outputs/run/2", ["run=outputs/run/2026-01-01_00-00-00/"]),
        ("cai resume ", ["last", "my_conf/", "my_package/", "outputs/"]),
        ("cai resume last trainer.max_e", ["trainer.max_epochs="]),
        ("cai reproduce last reproduce.ch", ["reproduce.check_only="]),
        ("cai compare out", ["outputs/"]),
        ("cai tune tune.tri", ["tune.trials="]),
        ("cai tune optimizer.l", ["optimizer.lr="]),
        ("cai doctor ver", ["verify="]),
        ("cai inspect data stage=t", ["stage=tokens"]),
        ("cai inspect model model=gpt2_s", ["model=gpt2_small"]),
        ("cai evaluate generation=gr", ["generation=greedy"]),
        ("cai board nothing_of_this", []),
        ("cai nonsense mod", []),
    ],
)  # fmt: skip
def test_what_may_stand_there(line: str, words: list[str], places: Path) -> None:
    assert words_at(line) == words


def test_every_verb_and_subject_is_known() -> None:
    assert words_at("cai ")[: len(VERBS)] == list(VERBS)
    assert set(words_at("cai inspect ")) == set(SUBJECTS)


def test_words_are_split_as_the_shell_does() -> None:
    assert split("cai train ") == ["cai", "train", ""]
    assert split("cai train 'a b' \"c") == ["cai", "train", "a b", "c"]
    assert split("cai train 'a b") == ["cai", "train", "a b"]
    assert split("cai question=가온 모") == ["cai", "question=가온", "모"]


def test_each_shell_gets_what_it_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    note = "peak learning rate of the hidden matrices, in AdamW's units"
    assert asked("cai train optimizer.l", "bash", capsys, monkeypatch) == ["optimizer.lr="]
    assert asked("cai train model=gpt2_c", "bash", capsys, monkeypatch) == ["gpt2_cai "]  # bash breaks words at =
    assert asked("cai train optimizer.l", "fish", capsys, monkeypatch) == [f"optimizer.lr=\t{note}"]
    assert asked("cai train optimizer.l", "zsh", capsys, monkeypatch) == [f"optimizer.lr=\t{note}"]
    monkeypatch.setenv("COMP_POINT", "6")
    monkeypatch.setenv("COMP_LINE", "cai tr model=gpt2")  # the cursor is behind `tr`
    assert main(["--complete", "bash"]) == 0
    assert capsys.readouterr().out == "train \n"


def test_a_shell_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert main(["--completion", shell]) == 0
        assert capsys.readouterr().out == script
    assert main(["--completion", "csh"]) == 2
    assert "(bash, zsh, fish), but is told csh" in capsys.readouterr().err


def test_bash_completes(places: Path) -> None:
    def replies(*words: str, line: str) -> list[str]:
        setting = f"COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({' '.join(map(repr, words))})"
        script = f'eval "$(cai --completion bash)"; {setting}; _cai_complete; printf "%s\\n" "${{COMPREPLY[@]}}"'
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        bash = ["bash", "--norc", "-c", f"{script}; complete -p cai"]
        done = subprocess.run(bash, env=os.environ | {"PATH": path}, cwd=places, capture_output=True, text=True, check=True)
        *found, rule = done.stdout.splitlines()
        assert rule == "complete -o default -o nospace -F _cai_complete cai"
        assert done.stderr == ""
        return found

    assert replies("cai", "train", "model", "=", "gpt2_c", line="cai train model=gpt2_c") == ["gpt2_cai "]
    assert replies("cai", "train", "data.path", "=", "my", line="cai train data.path=my") == [""]  # bash completes the file


def test_an_answer_imports_nothing_heavy() -> None:
    code = "import sys; from cai.cli import main; main(['--complete', 'bash']); print(*sys.modules, file=sys.stderr)"
    for line in ("cai train --config-dir conf optimizer=adamw optimizer.l", "cai train device.precision="):
        environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout
        assert not {"torch", "hydra", "omegaconf", "pydantic", "yaml", "numpy"} & set(done.stderr.split())


def test_what_the_page_shows_is_so() -> None:
    (block,) = [block for block in blocks(DOCS / "configuration.md", "console") if "<TAB>" in block]
    lines = block.splitlines()
    for command, shown in zip(lines[::2], lines[1::2], strict=True):
        line = command.removeprefix("$ ").removesuffix("<TAB>")
        assert sorted(word.rpartition("=")[2] or word for word in words_at(line)) == shown.split()


def test_words_of_a_literal_are_found_wherever_it_stands() -> None:
    sources = Sources(Path("nowhere"))
    of_csv = "cai.data.csv.CsvConfig"
    assert sources.words_for(of_csv, "encoding") == ["utf-8", "cp949", "utf-16", "auto"]  # an alias, from another module
    assert sources.words_for(of_csv, "clean.telephones") == ["keep", "check", "format"]  # of a class inside of a base
    assert sources.words_for("cai.trainer.trainer.TrainerConfig", "max_steps") == []
    assert sources.words_for("elsewhere.Config", "anything") == []
    assert sources.class_of_root("tune") == "cai.config.roots.TuneConfig"
    assert sources.class_of_root("nothing") == ""


def test_a_yaml_is_read_as_text() -> None:
    sheet = read_sheet(
        "# @package _global_\n# What it is.\ndefaults:\n  - override /model: gpt2   # why\n  - _self_\n"
        'a:\n  b: 1        # one; "two"\n  c: "x # y"\nd:\n  - 1\n  - 2\ne: ${a.b}\n'
    )
    assert (sheet.header, sheet.defaults) == (("What it is.",), ("override /model: gpt2", "_self_"))
    assert {path: (option.value, option.comment) for path, option in sheet.options.items()} == {
        "a": ("", ""), "a.b": ("1", 'one; "two"'), "a.c": ('"x # y"', ""), "d": ("[1, 2]", ""), "e": ("${a.b}", ""),
    }  # fmt: skip


def test_what_a_yaml_is_made_of_is_read_too() -> None:
    sheets = Sheets([conf_folder()])
    options = sheets.options("trainer/smoke")
    assert (options["max_steps"].value, options["patience"].value) == ("20", "0")
    assert options["max_steps"].comment == "optimizer updates; or null, and max_epochs"  # of the YAML below
    assert sheets.options("data/csv")["clean.nfc"].value == "true"
    assert sheets.groups("doctor")["model"] == "modern"
