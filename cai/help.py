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
    "resume": """\
Go on with a run in its own directory, from its last whole checkpoint, as if it had never stopped.

  cai resume outputs/run/2026-01-01_00-00-00
  cai resume last
  cai resume outputs/run/2026-01-01_00-00-00 trainer.max_steps=2000   more steps; the schedule is computed anew from there
  cai resume copied_run data.path=elsewhere/my.txt                    the same text in another place

May change: device.*, trainer.micro_batch_size, trainer.*_every, trainer.keep, trainer.on_nonfinite, paths of the same
content; more trainer.max_steps or max_epochs. Anything else would make it another run and is refused.
Exit code 0: the run is finished, by now or already. 143 or 130: stopped by SIGTERM or Ctrl-C, after a save.""",
    "reproduce": """\
Run a saved config again in a new directory and compare config, data, code, environment and every loss.

  cai reproduce outputs/run/2026-01-01_00-00-00
  cai reproduce last reproduce.check_only=true                    config, data, code and environment, without training
  cai reproduce copied_run data.path=elsewhere/my.txt             the same text in another place
  PYTHONPATH=copied_run/code cai reproduce copied_run trust=my_package   with the components it was trained with

Exit code 0: all losses are equal to the bit. 3: within reproduce.tolerance. 4: they part; it says where and how far.""",
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
