"""What a user does with a device, step by step, each in a process of its own: trained, killed, resumed, used, exported."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cai.device import Device
from cai.diagnosis import program
from cai.diagnosis.program import Outcome
from cai.losses import compare_losses, read_losses
from cai.runs import METRICS, read_run


class Work(NamedTuple):
    """How much is done."""

    words: tuple[str, ...] = ()
    """Options of training, beside ``TINY``."""
    steps: int = 80
    killed_at: int = 25
    """A step; from it on the process is killed, as soon as it is seen."""
    new_tokens: int = 24
    limit: float = 300.0
    """Seconds that a command may take."""


TOLERANCE = 1e-3
"""By what share of itself a loss may differ where it need not be equal to the bit."""
PROMPT = "가온솔병원 전화번호"

TINY = (
    *("data.samples=300", "data.questions=2", "data.wild=0.0", "data.packing=stream", "data.loss=all", "data.val_ratio=0.1"),
    *("tokenizer=bpe", "tokenizer.vocab_size=512", "model=modern", "model.n_layer=2", "model.n_head=1", "model.n_embd=64"),
    *("model.block_size=160", "model.dropout=0.1", "trainer=smoke", "trainer.batch_size=8", "trainer.eval_max_tokens=null"),
    *("trainer.log_every=5", "trainer.answers=0", "schedule.warmup_steps=5", "generation.max_new_tokens=16"),
)
"""The embedded contacts, and a model of every idea in small: seconds on two CPU cores."""


class Failed(Exception):
    """A step has not come out as it should."""


class Verification:
    """The steps, in order. What one finds, later ones use: each raises ``Failed``, or returns what it has found."""

    def __init__(self, device: Device, words: Sequence[str], trust: Sequence[str], folder: Path, work: Work) -> None:
        """``words``: the device's options as they are typed; ``trust``: a word or none, for every command that takes it."""
        self.device, self.words, self.trust = device, tuple(words), tuple(trust)
        self.folder, self.work = folder, work
        self.outcome: Outcome | None = None
        """Of the last command."""
        self.figures: dict[str, float] = {}
        self._text = ""

    def steps(self) -> dict[str, tuple[Callable[[], str], tuple[str, ...]]]:
        """Name → what is done, and the steps that it needs."""
        return {
            "train": (self.train, ()),
            "kill": (self.kill, ()),
            "resume": (self.resume, ("kill",)),
            "same losses": (self.compare, ("train", "resume")),
            "reproduce": (self.reproduce, ("train",)),
            "generate": (self.generate, ("train",)),
            "evaluate": (self.evaluate, ("train",)),
            "export": (self.export, ("train",)),
            "use the export": (self.use_export, ("generate", "export")),
        }

    def train(self) -> str:
        self._cai("train", "name=whole", *self._training())
        metrics = _metrics(self._run("whole"))
        first, *_, last = [entry["val/loss"] for entry in metrics if "val/loss" in entry]
        if not last < first:
            raise Failed(f"the validation loss does not fall, but goes from {first} to {last}")
        found = read_run(self._run("whole"))["device"]
        if (found["type"], found["precision"]) != (self.device.type, self.device.precision):
            raise Failed(f"it ran on {found['type']} in {found['precision']}")
        speed = statistics.median(entry["perf/tokens_per_sec"] for entry in metrics if "perf/tokens_per_sec" in entry)
        self.figures |= {"tokens_per_second": speed, "val_loss": last}
        return f"{metrics[-1]['step']} steps, val loss {first:.2f} to {last:.2f}, {speed:,.0f} tokens/s"

    def kill(self) -> str:
        words = ("train", "name=killed", *self._training())
        with program.started(words, self.folder) as process:
            code = program.wait(process, lambda: self._step("killed") >= self.work.killed_at, self.work.limit)
            step = self._step("killed")
            self.outcome = program.outcome(words, self.folder, program.kill(process))
        if code is not None:
            raise Failed(f"it ended by itself at step {step} (exit code {code}) before it could be killed")
        if step < self.work.killed_at:
            raise Failed(f"after {self.work.limit:.0f} s it was at step {step}")
        if (status := read_run(self._run("killed"))["status"]) != "interrupted":
            raise Failed(f"its status is {status} and not interrupted")
        return f"at step {step} of {self.work.steps}"

    def resume(self) -> str:
        self._cai("resume", self._typed("killed"), *self.trust)
        facts = read_run(self._run("killed"))
        if facts["status"] != "finished" or facts["steps"] != self.work.steps:
            raise Failed(f"its status is {facts['status']} at step {facts.get('steps')}")
        if not (step := facts["resumed"][0]["step"]):
            raise Failed("it began anew, though it had saved before it was killed")
        return f"from step {step}"

    def compare(self) -> str:
        self.outcome = None
        compared = compare_losses(*(read_losses(self._run(name)) for name in ("whole", "killed")))
        widest = 0.0 if compared.widest is None else compared.widest.relative
        self.figures["resumed_differs_by"] = widest
        if compared.first is None:
            return f"all {compared.count} equal to the bit, killed or not"
        if self.device.type == "cpu" or not compared.within(TOLERANCE):
            raise Failed(f"of {compared.count} the first to part is {compared.first}, the widest apart {compared.widest}")
        return f"{compared.count} within {widest:.1g} of themselves, killed or not"

    def reproduce(self) -> str:
        within_tolerance = 3  # cai.reproduce's exit code
        codes = (0,) if self.device.type == "cpu" else (0, within_tolerance)
        out = self._cai("reproduce", self._typed("whole"), *self.trust, codes=codes).out
        return next((line for line in reversed(out.splitlines()) if line.startswith("reproduced")), "")

    def generate(self) -> str:
        self._text = self._written(self._typed("whole"))
        return json.dumps(self._text, ensure_ascii=False)

    def evaluate(self) -> str:
        words = ("answers=0", "out=evaluation.json", *self.words, *self.trust)
        self._cai("evaluate", f"run={self._typed('whole')}", "checkpoint=last", *words)
        loss = json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))["figures"]["loss"]
        before = self.figures["val_loss"]
        if not abs(loss - before) <= TOLERANCE * before:
            raise Failed(f"loss {loss}, but {before} at the end of training")
        return f"loss {loss:.4f}, as at the end of training"

    def export(self) -> str:
        out = self._cai("export", f"run={self._typed('whole')}", "to=safetensors", "out=exported", *self.trust).out
        return next((line.removeprefix("compared").strip() for line in out.splitlines() if line.startswith("compared")), "")

    def use_export(self) -> str:
        if (text := self._written("exported")) != self._text:
            raise Failed(f"it writes {json.dumps(text, ensure_ascii=False)}, but the run another text")
        return "writes the same as the run"

    def _training(self) -> tuple[str, ...]:
        quarter = max(1, self.work.steps // 4)
        length = (f"trainer.max_steps={self.work.steps}", f"trainer.eval_every={quarter}", f"trainer.save_every={quarter}")
        return (*TINY, *length, *self.work.words, *self.words, *self.trust)

    def _written(self, run: str) -> str:
        options = ("generation=greedy", f"generation.max_new_tokens={self.work.new_tokens}", *self.words, *self.trust)
        text = self._cai("generate", f"run={run}", f"prompt={PROMPT}", *options).out.strip()
        if not text.startswith(PROMPT) or text == PROMPT:
            raise Failed(f"it writes nothing behind the prompt, but {json.dumps(text, ensure_ascii=False)}")
        return text

    def _cai(self, *words: str, codes: Sequence[int] = (0,)) -> Outcome:
        self.outcome = program.run(words, self.folder, self.work.limit)
        if self.outcome.code is None:
            raise Failed(f"it took more than {self.work.limit:.0f} s")
        if self.outcome.code not in codes:
            said = [line for line in self.outcome.tail if line.strip()]
            raise Failed(f"exit code {self.outcome.code}{f': {said[-1]}' if said else ''}")
        return self.outcome

    def _run(self, name: str) -> Path:
        """Its directory."""
        runs = sorted(self.folder.glob(f"outputs/{name}/*/run.json"))
        if not runs:
            raise Failed("it left no run")
        return runs[0].parent

    def _typed(self, name: str) -> str:
        """Its directory, as one types it in the folder."""
        return self._run(name).relative_to(self.folder).as_posix()

    def _step(self, name: str) -> int:
        """How far a run is."""
        path = next(self.folder.glob(f"outputs/{name}/*/{METRICS}"), None)
        return 0 if path is None else max((entry["step"] for entry in _metrics(path.parent)), default=0)


def _metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines that are whole."""
    text = (directory / METRICS).read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
