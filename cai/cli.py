"""The ``cai`` program: one verb, then overrides. Help answers without importing anything heavy."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module

from cai.errors import CaiError

VERBS = {
    "train": "compose a config, build tokenizer, data, model and trainer, and fit; -m sweeps",
    "generate": "write on from a question or a prompt with a trained run",
    "evaluate": "how well a trained run predicts text (bits per byte) and answers questions (field by field)",
    "resume": "go on with a run that was interrupted or failed, to the bit",
    "reproduce": "run a saved config again and compare code, data and every loss",
    "compare": "runs or a sweep side by side: a table, a report with curves, files; seeds averaged",
    "list": "runs and sweeps with their status, size and best value; clean=true deletes what failed or is unused",
    "board": "TensorBoard over the outputs: curves, samples, hyperparameters",
    "tune": "search over options with Optuna: every trial an ordinary run, bad ones pruned, to be gone on with at any time",
    "export": "a trained run for other programs: Hugging Face, ONNX, llama.cpp and more, compared with the original",
    "prepare": "tokenizer and token shards alone, with a report; train finds them in the cache",
    "inspect": "look inside: tokenizer, data, model, lr (range test), gradients, attention, checkpoint, run, options",
    "doctor": "what this machine can do and whether it computes rightly; how long a config takes; what is wrong with a run",
}

EXAMPLES = """\
Examples:
  cai train                                                   the embedded corpus, minutes on two CPU cores
  cai train data=text data.path=my.txt tokenizer=bpe tokenizer.vocab_size=8000
  cai train -m model.n_layer=4,6 optimizer.lr=0.01,0.04       a sweep: four runs, data built once
  cai generate run=last question="가온솔병원 전화번호 알려줘" doc="가온솔병원 전화 02-2345-6789"
  cai list                                                    runs and sweeps, newest first
  cai board                                                   TensorBoard: curves, samples and hyperparameters"""


COMPLETION = 'TAB completes words after: eval "$(cai --completion bash)" (or zsh, or fish).'


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name) and return its exit code."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help", "help"):
        return show(overview())
    if words[0] == "--version":
        from importlib.metadata import version

        return show(f"cai {version('cai')}")
    if words[0] in ("--completion", "--complete"):
        return run_verb("completion", words)
    if words[0] not in VERBS:
        from cai.spelling import did_you_mean

        close = did_you_mean(words[0], VERBS)
        hint = f" Did you mean {close[0]}?" if close else ""
        print(f"`{words[0]}` must be one of the verbs {', '.join(VERBS)}.{hint}", file=sys.stderr)
        return 2
    return run_verb(words[0], words[1:])


def run_verb(verb: str, words: Sequence[str] | None = None) -> int:
    """One verb, with its errors turned into one message and an exit code: 2 for a user's mistake, 1 for a failed run."""
    words = sys.argv[1:] if words is None else words
    if "-h" in words or "--help" in words:
        from cai.help import verb_help

        return show(verb_help(verb, words))
    # PyTorch reads it when imported; an operator that MPS lacks then runs on the CPU instead of ending the run.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    try:
        module = import_module(f"cai.{verb}")
        log_to_console(logging.CRITICAL if _stands_by() else logging.INFO)
        code: int = module.main(words)
        return code
    except CaiError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `cai generate | head`
        return unread()
    except (MemoryError, OSError, RuntimeError) as error:
        from cai.symptoms.failures import symptom_of

        if (told := symptom_of(error, against_memory="smaller_batch")) is None:
            raise
        print(f"\n{told.sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("\ninterrupted", file=sys.stderr)
        return getattr(error, "exit_code", 130)


def show(text: str) -> int:
    """Print all there is to say. Returns the exit code."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `cai train --help | head`
        return unread()
    return 0


def unread() -> int:
    """What is still to be printed goes nowhere: nobody reads on. The exit code is that of a program that SIGPIPE ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return 128 + 13


def _stands_by() -> bool:
    """Whether this is one of several processes that torchrun has started, and not the first, which speaks for all."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"


def overview() -> str:
    """What ``cai --help`` prints."""
    verbs = "\n".join(f"  {verb:<11}{summary}" for verb, summary in VERBS.items())
    usage = "CAI: train small GPTs from scratch on your own text.\n\nusage: cai <verb> [key=value ...]"
    return "\n\n".join([usage, verbs, EXAMPLES, f"cai <verb> --help tells more. {COMPLETION}"])


class ConsoleHandler(logging.Handler):
    """Messages go to standard output, between the lines of a progress bar rather than through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(record.getMessage(), file=sys.stdout)
            sys.stdout.flush()  # a file that it goes to is looked at while the run goes on
        except BrokenPipeError:  # `cai train | head`: a run does not end because nobody reads on; its train.log has it all
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _log_of_thread(hook: threading.ExceptHookArgs) -> None:
    """A full disk ends TensorBoard's writer thread; the main thread gets the same error, and tells it in a sentence."""
    if issubclass(hook.exc_type, OSError):
        logging.getLogger("cai").debug("in a thread: %s", hook.exc_value)
    else:
        threading.__excepthook__(hook)


def log_to_console(level: int = logging.INFO) -> None:
    """Have what the program logs seen by a person, from ``level`` on."""
    logger = logging.getLogger("cai")
    logger.setLevel(level)
    logger.propagate = False
    threading.excepthook = _log_of_thread
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())


if __name__ == "__main__":
    raise SystemExit(main())
