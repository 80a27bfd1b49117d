"""``cai generate file=... out=...``: a file of prompts to one of answers, which goes on where it ended. (Command layer.)"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from cai.config.roots import GenerateConfig
from cai.errors import DataError
from cai.files import told
from cai.generation import Completion, Generator
from cai.prompt import Prompt
from cai.prompt_file import Line, finished, read_prompts
from cai.show import say, writing_of
from cai.symptoms.table import Told
from cai.symptoms.texts import symptoms_of, symptoms_of_prompt
from cai.trained import TrainedRun


class FileJob:
    """A file of prompts that has been checked, and what of it is done."""

    def __init__(self, config: GenerateConfig) -> None:
        """Raises ``DataError`` with every mistake; writes nothing."""
        assert config.file is not None
        assert config.out is not None
        self.config = config
        self.out = Path(config.out).expanduser()
        self.lines = read_prompts(Path(config.file).expanduser(), config.samples)
        self.done, self.size = finished(self.out, self.lines, config.samples)

    def run(self, generator: Generator, trained: TrainedRun) -> None:
        """Append what is missing, a line as soon as it and all before it are there.

        Raises ``DataError`` if another command is writing ``out``: each would cut away what the other has written.
        """
        with told(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{self.out}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise DataError(
                    f"out must be free, but another command is writing {self.out}. Wait for it to end."
                ) from None
        try:
            self.done, self.size = finished(self.out, self.lines, self.config.samples)  # as it is now that nobody writes
            self._append(generator, trained)
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)  # nobody waits for it: who finds it taken is refused
            lock.release()

    def _append(self, generator: Generator, trained: TrainedRun) -> None:
        config, first = self.config, self.done
        prompts = [line.prompt for line in self.lines[first:]]
        self._warn(prompts, trained)
        completions = generator.complete(
            [prompt.parts for prompt in prompts],
            config.seed,
            samples=config.samples,
            batch_size=config.batch_size,
            first=first,
        )
        seen = Symptoms()
        bar = tqdm(total=len(self.lines), initial=first, unit="prompt", disable=None, dynamic_ncols=True)
        try:
            with told(self.out), bar, self.out.open("ab") as stream:
                stream.truncate(self.size)
                for texts in in_order(completions, first, config.samples):
                    line = self.lines[self.done]
                    stream.write(line.finish(texts, config.samples))
                    stream.flush()
                    self.done += 1
                    bar.update()
                    seen.add(line, texts, generator)
        finally:
            state = "" if self.done == len(self.lines) else "; the same command goes on"
            print(f"{self.out}: {self.done:,} of {len(self.lines):,} prompts answered{state}", file=sys.stderr)
        say("advice", seen.told())

    def _warn(self, prompts: Sequence[Prompt], trained: TrainedRun) -> None:
        """Each warning once, with how many prompts it is about."""
        seen = Symptoms("prompts")
        block_size, learned = trained.config.model.block_size, trained.config.data.asks
        for line, prompt in zip(self.lines[self.done :], prompts, strict=True):
            length = len(trained.tokenizer.encode_parts(prompt.parts))
            seen.count(line, symptoms_of_prompt(length, block_size, asks=prompt.asks, learned_to_answer=learned))
        say("warning", seen.told())


class Symptoms:
    """How often each was seen, and where first."""

    def __init__(self, what: str = "texts") -> None:
        self.what = what
        self.total = 0
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[str, Told]] = {}

    def add(self, line: Line, texts: Iterable[Completion], generator: Generator) -> None:
        """What is wrong with the texts of a line."""
        for text in texts:
            self.count(line, symptoms_of(writing_of(line.prompt, text.text, text.end, generator.config)))

    def count(self, line: Line, found: Iterable[Told]) -> None:
        """One more text or prompt, and what is wrong with it."""
        self.total += 1
        for one in found:
            self.counts[one.name] += 1
            self.first.setdefault(one.name, (line.where, one))

    def told(self) -> Iterator[Told]:
        """The first of each kind, with how many there are."""
        for name, count in self.counts.most_common():
            where, one = self.first[name]
            yield Told(name, f"{count:,} of {self.total:,} {self.what}, the first for {where}: {one.sentence}")


def in_order(completions: Iterable[Completion], first: int, samples: int) -> Iterator[list[Completion]]:
    """All texts of a prompt together, prompt by prompt; those that are early wait."""
    early: dict[int, list[Completion]] = {}
    for completion in completions:
        early.setdefault(completion.prompt, []).append(completion)
        while len(early.get(first, ())) == samples:
            yield sorted(early.pop(first), key=lambda one: one.sample)
            first += 1
