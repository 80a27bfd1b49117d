"""``python -m cai.harness``: a run through lm-eval, with nothing but what lies on this machine."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cai.errors import CaiError, ConfigError
from cai.files import told, write_whole
from cai.spelling import did_you_mean

TASKS = Path(__file__).parent / "tasks"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
FEWSHOT_SEED = 1234
"""lm-eval's own."""


def main(words: Sequence[str] | None = None) -> int:
    """One evaluation. Returns the exit code."""
    options = _parser().parse_args(words)
    try:
        if find_spec("lm_eval") is None:
            raise ConfigError('cai.harness needs the package lm-eval. Try: pip install "cai[lm-eval]"')
        for path in (options.output_path, options.write_questions):
            _claim(path)
        if options.write_questions:
            from cai.harness.data import write_questions

            write_questions(options.write_questions, options.limit or 200)
        else:
            _evaluate(options)
    except CaiError as error:
        sys.stderr.write(f"\n{error}\n")
        return error.exit_code
    return 0


def _claim(path: Path | None) -> None:
    """Refuse before anything is computed what could not be written after it, and what is there already."""
    if path is None:
        return
    if path.exists():
        raise ConfigError(f"the file to write must be a new one, but {path} is there already. Give another name.")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cai.harness", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add(
        "--model_args",
        default="run=last",
        help="run=..., checkpoint=, device=, threads=, parse_tags=true, ... (docs/lm_eval.md)",
    )
    add("--tasks", default="cai_contacts,cai_text", help="names, with commas between them; default: %(default)s")
    add("--include_path", type=Path, help="a folder with task YAMLs of your own")
    add("--questions", help="cai_contacts: JSONL of question, context and answers; default: the embedded ones")
    add("--text", help="cai_text: a text file; default: the embedded documents")
    add("--limit", type=int, help="documents of each task")
    add("--batch_size", type=int, help="windows or texts at once; default: 32")
    add(
        "--gen_kwargs", default="", help="for tasks that generate, over what their YAMLs say: temperature=0.7,do_sample=true"
    )
    add("--output_path", type=Path, help="a JSON file for results and every answer")
    add("--write_questions", type=Path, metavar="FILE", help="write the embedded questions as JSONL, and do nothing else")
    return parser


def _evaluate(options: argparse.Namespace) -> None:
    # Before the libraries are imported, which read them once. What the user has set stays.
    for name in OFFLINE:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    from lm_eval.evaluator import evaluate
    from lm_eval.utils import handle_non_serializable, make_table, simple_parse_args_string

    from cai.harness.model import CaiLM

    tasks = _tasks(options, simple_parse_args_string(options.gen_kwargs))
    arguments = simple_parse_args_string(options.model_args)
    if options.batch_size:
        arguments["batch_size"] = options.batch_size
    try:
        model = CaiLM(**arguments)
    except TypeError as error:  # an argument that there is not
        raise ConfigError(f"--model_args must be arguments of CaiLM, but: {error}. docs/lm_eval.md lists them.") from error
    results = evaluate(model, tasks, limit=options.limit, log_samples=options.output_path is not None)
    results["config"] = model.get_model_info()
    sys.stdout.write(f"({model.directory})\n{make_table(results)}\n")
    if options.output_path:
        text = json.dumps(results, indent=2, default=handle_non_serializable, ensure_ascii=False)
        write_whole(options.output_path, text + "\n")


def _tasks(options: argparse.Namespace, generation: dict[str, Any]) -> Any:
    """The tasks asked for, of CAI's and the user's own alone: lm-eval's 14,000 take a quarter of a minute and a network."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval.api.task").addFilter(lambda record: "Custom kwargs" not in record.getMessage())
    given = {name: getattr(options, name) for name in ("questions", "text") if getattr(options, name) is not None}
    paths = [TASKS, *([options.include_path] if options.include_path else [])]
    manager = TaskManager(include_path=paths, include_defaults=False, metadata=given)
    names = [name.strip() for name in options.tasks.split(",") if name.strip()]
    if unknown := [name for name in names if name not in manager.all_tasks]:
        close = did_you_mean(unknown[0], manager.all_tasks)
        remedy = f"Did you mean {close[0]}?" if close else "--include_path names a folder with others."
        raise ConfigError(f"--tasks must be of {', '.join(manager.all_tasks)}, but one is {unknown[0]}. {remedy}")
    tasks = manager.load(names)
    for task in tasks["tasks"].values():  # as lm_eval.simple_evaluate, which asks git and pip for much else
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        if generation and task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=generation, update=True)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    return tasks


if __name__ == "__main__":
    raise SystemExit(main())
