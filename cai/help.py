"""``cai <verb> --help``: examples first, then every option as its YAML documents it. Reads text, imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from cai.resources import conf_folder

VERB_EXAMPLES = {
    "train": """\
Train a small GPT. Without arguments: the embedded corpus, minutes on two CPU cores.

  cai train
  cai train trainer=smoke                                 seconds, to see that everything runs
  cai train data=text data.path=my.txt                    your own text: a file, a folder or a glob
  cai train model=gpt2_mini optimizer.lr=1e-3 trainer.max_steps=2000
  cai train experiment=cai_m4 data=text data.path=my/     a recipe
  cai train -m model.n_layer=4,6 optimizer.lr=1e-3,3e-3   a sweep: one run for each combination
  cai train --config-dir my_conf model=mine trust=my_package   your own YAML and class

A group is chosen by name (group=choice), an option set by its path (group.option=value).""",
    "generate": """\
Write on from a question or a prompt with a trained run.

  cai generate run=last question="가온솔병원 전화번호 알려줘" doc="가온솔병원 전화 02-2345-6789"
  cai generate run=outputs/run/2026-01-01_00-00-00 prompt="[QUESTION]" generation=creative
  cai generate run=last prompt="태초에" generation.temperature=0 generation.max_new_tokens=100

question= and doc= build the training prompt; prompt= is taken as it stands, tags included.""",
    "reproduce": """\
Run a saved config again in a new directory and compare every loss.

  cai reproduce outputs/run/2026-01-01_00-00-00

Exit code 0: all losses equal to the bit. 1: the first step where they part is printed.""",
}


def verb_help(verb: str) -> str:
    """What ``cai <verb> --help`` prints."""
    parts = [VERB_EXAMPLES[verb]]
    root = conf_folder() / f"{verb}.yaml"
    if root.is_file():
        groups = _groups_of(root)
        choices = "\n".join(f"  {group:<12}{', '.join(choices_of(group))}" for group in groups)
        parts.append(f"Groups and their choices:\n\n{choices}")
        text = root.read_text(encoding="utf-8")
        parts.append("Options:\n\n" + "\n".join(f"  {line}" for line in text.rpartition("\n\n")[2].splitlines()))
        for group, default in groups.items():
            if default != "null":
                parts.append(f"{group}={default}\n\n" + _indented(conf_folder() / group / f"{default}.yaml"))
    return "\n\n".join(parts)


def choices_of(group: str) -> list[str]:
    """The names a group can be set to."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def _groups_of(root: Path) -> dict[str, str]:
    """Group → default choice, from a root's defaults list; read as text, since a YAML reader takes longer than all else."""
    lines = root.read_text(encoding="utf-8").partition("defaults:")[2].partition("\n\n")[0].splitlines()
    entries = (line.strip().removeprefix("- ").partition(":") for line in lines)
    return {group: choice.strip() for group, colon, choice in entries if colon and " " not in group}


def _indented(path: Path) -> str:
    """A YAML's options with their comments; one that only names another (``defaults: [x]``) is followed."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "_target_"))]
    if lines[:1] == ["defaults:"] and len(lines) == 2:
        return _indented(path.with_name(f"{lines[1].strip().removeprefix('- ')}.yaml"))
    return "\n".join(f"  {line}" for line in lines)
