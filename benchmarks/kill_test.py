"""Kill runs at any instant, resume them, and count what was lost. Prints a table; exit code 0 if it was nothing.

    python benchmarks/kill_test.py             # 100 killed runs, 200 damaged checkpoints, 50 pairs started in one instant
    python benchmarks/kill_test.py kills=20 pairs=5 damages=40

Every run is the ordinary program, in a process that is forked from one which has imported it already: a start takes a tenth
of a second instead of four, and most kills fall into what matters.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

RUN = (
    *("device=cpu", "device.precision=fp32", "device.threads=1", "data.samples=300", "tokenizer.vocab_size=500"),
    *("model.n_layer=2", "model.n_head=2", "model.n_embd=32", "model.block_size=64", "model.dropout=0.1"),
    *("trainer.max_steps=120", "trainer.batch_size=4", "trainer.micro_batch_size=2", "trainer.log_every=3"),
    *("trainer.eval_every=15", "trainer.eval_max_tokens=512", "trainer.sample_every=30", "trainer.samples=1"),
    *("trainer.save_every=5", "trainer.keep=2", "generation.max_new_tokens=12", "schedule.warmup_steps=5"),
)
MODULES = ["cai.train", "cai.resume", "cai.reproduce", "torch.utils.tensorboard", "tensorboard.plugins.hparams.summary_v2"]
SIGTERM_LIMIT = 20.0
"""Seconds within which a run must have saved and ended after SIGTERM."""

context: ForkServerContext = multiprocessing.get_context("forkserver")


def cai_main(words: list[str], log: str, barrier: Barrier | None = None) -> None:
    """In a child: the program, its output in a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    from cai.cli import main

    if barrier is not None:
        barrier.wait()
    sys.exit(main(words))


def start(words: list[str], folder: Path, barrier: Barrier | None = None) -> ForkServerProcess:
    folder.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=cai_main, args=(words, str(folder / "log.txt"), barrier))
    process.start()
    return process


def run(words: list[str], folder: Path) -> int:
    """The exit code of a command line."""
    process = start(words, folder)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def train_words(folder: Path, *more: str) -> list[str]:
    return ["train", *RUN, f"output_dir={folder}", *more]


def run_directory(folder: Path) -> Path | None:
    """The one run below ``folder``, if it can be resumed already."""
    found = list(folder.glob("run/*/config.yaml"))
    return found[0].parent if found else None


@dataclass
class Outcome:
    """What a run ended as, to be compared to the bit."""

    tensors: dict[str, bytes] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    samples: str = ""
    leftovers: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, directory: Path) -> Outcome:
        from safetensors.numpy import load_file

        tensors: dict[str, bytes] = {}
        for name in ("last", "best"):
            loaded = load_file(directory / "checkpoints" / f"{name}.safetensors")
            tensors |= {f"{name}/{key}": value.tobytes() for key, value in loaded.items() if not key.startswith("random")}
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        metrics = [json.dumps({key: value for key, value in line.items() if not key.startswith("perf/")}) for line in lines]
        samples = (directory / "samples.md").read_text(encoding="utf-8")
        hidden = [str(path) for path in directory.rglob(".*") if path.name not in (".lock", ".hydra")]
        return cls(tensors, metrics, samples, hidden)


@dataclass
class Tally:
    """What was found over all kills."""

    phases: Counter[str] = field(default_factory=Counter)
    wrong_weights: int = 0
    lost_lines: int = 0
    doubled_lines: int = 0
    wrong_samples: int = 0
    leftovers: int = 0
    not_resumed: int = 0

    def compare(self, expected: Outcome, found: Outcome) -> None:
        self.wrong_weights += expected.tensors != found.tensors
        self.lost_lines += sum((Counter(expected.metrics) - Counter(found.metrics)).values())
        self.doubled_lines += sum((Counter(found.metrics) - Counter(expected.metrics)).values())
        self.wrong_samples += expected.samples != found.samples
        self.leftovers += len(found.leftovers)


def phase_of(folder: Path) -> str:
    """What a killed process was doing, by what it left."""
    directory = run_directory(folder)
    if directory is None:
        return "before the run directory"
    if list(directory.glob("checkpoints/.*.unfinished")):
        return "writing a checkpoint"
    if not (directory / "metrics.jsonl").exists():
        return "preparing data and tokenizer"
    if not (directory / "checkpoints" / "last.safetensors").exists():
        return "before the first checkpoint"
    status = json.loads((directory / "run.json").read_text())["status"]
    return "training" if status == "running" else "after the end"


def kill_at_random(process: ForkServerProcess, folder: Path, rng: random.Random, duration: float) -> bool:
    """SIGKILL at any instant of ``duration``, every fourth time in the midst of a checkpoint. Whether it came in time."""
    end = time.monotonic() + rng.uniform(0, duration)
    aimed = rng.random() < 0.25
    skip = rng.randrange(12)
    seen = False
    while process.is_alive() and (aimed or time.monotonic() < end):
        writing = any(folder.glob("run/*/checkpoints/.*.unfinished")) if aimed else False
        if writing and not seen:
            skip -= 1
        seen = writing
        if aimed and writing and skip < 0:
            break
        time.sleep(0 if aimed else 0.001)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive and process.exitcode == -signal.SIGKILL


def one_run(number: int, scratch: Path, duration: float, expected: Outcome, tally: Tally) -> int:
    """One run killed one to three times and resumed to its end. Returns how often it was killed."""
    rng, folder = random.Random(number), scratch / f"killed_{number}"
    kills, wanted = 0, rng.choice((1, 1, 2, 3))
    words = train_words(folder)
    while kills < wanted:
        if kill_at_random(start(words, folder), folder, rng, duration):
            kills += 1
            tally.phases[phase_of(folder)] += 1
        elif kills or run_directory(folder) is not None:
            break
        directory = run_directory(folder)
        if directory is None:
            shutil.rmtree(folder / "run", ignore_errors=True)  # claimed, and not yet a run
        words = train_words(folder) if directory is None else ["resume", str(directory)]
    if run(words, folder) != 0:
        tally.not_resumed += 1
    else:
        directory = run_directory(folder)
        assert directory is not None
        tally.compare(expected, Outcome.of(directory))
        shutil.rmtree(folder)
    return kills


def kill_many(wanted: int, scratch: Path, duration: float, expected: Outcome) -> tuple[int, int, Tally]:
    """Runs, two at a time, until ``wanted`` of them were killed. Returns runs, kills and what was found."""
    tally, kills = Tally(), list[int]()
    with ThreadPoolExecutor(2) as pool:
        while sum(count > 0 for count in kills) < wanted:
            batch = range(len(kills), len(kills) + 2)
            kills += pool.map(lambda number: one_run(number, scratch, duration, expected, tally), batch)
    return len(kills), sum(kills), tally


def damage_many(count: int, scratch: Path, directory: Path) -> tuple[int, int]:
    """Truncated and bit-flipped copies of ``last``: how many were detected, and how often the one before was taken."""
    from cai.errors import RunError
    from cai.trainer.checkpoint import load_checkpoint
    from cai.trainer.folder import CheckpointFolder

    logging.getLogger("cai").setLevel(logging.CRITICAL)  # each would say that it is damaged
    rng, detected, used = random.Random(1), 0, 0
    whole = (directory / "checkpoints" / "last.safetensors").read_bytes()
    before = load_checkpoint(directory / "checkpoints" / "previous.safetensors").state["step"]
    for number in range(count):
        folder = scratch / f"damaged_{number}"
        folder.mkdir(parents=True)
        damaged = bytearray(whole)
        if number % 2:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            # Every bit of the first eight bytes, which tell the header's length; then the header; then anywhere.
            place = (
                number // 2 if number < 128 else 8 * rng.randrange(2000 if number % 4 else len(damaged)) + rng.randrange(8)
            )
            damaged[place // 8] ^= 1 << place % 8
        (folder / "last.safetensors").write_bytes(damaged)
        shutil.copyfile(directory / "checkpoints" / "previous.safetensors", folder / "previous.safetensors")
        try:
            load_checkpoint(folder / "last.safetensors")
        except RunError:
            detected += 1
        found = CheckpointFolder(folder).newest()
        used += found is not None and load_checkpoint(found).state["step"] == before
        shutil.rmtree(folder)
    return detected, used


def start_pairs(count: int, scratch: Path, expected: Outcome) -> tuple[int, int]:
    """Two runs of one output folder in the same instant: how often they shared a directory, or came out wrong."""
    shared = wrong = 0
    for number in range(count):
        folder, barrier = scratch / f"pair_{number}", context.Barrier(2)
        pair = [start(train_words(folder), folder / str(one), barrier) for one in (0, 1)]
        for process in pair:
            process.join()
        directories = [path.parent for path in folder.glob("run/*/config.yaml")]
        shared += len(directories) != 2
        outcomes = [Outcome.of(directory) for directory in directories]
        good = all(process.exitcode == 0 for process in pair)
        wrong += not good or any(one.tensors != expected.tensors or one.metrics != expected.metrics for one in outcomes)
        shutil.rmtree(folder)
    return shared, wrong


def terminate_many(count: int, scratch: Path, duration: float, expected: Outcome) -> tuple[int, float, int]:
    """SIGTERM at random instants: exits other than 143, the longest time to the end in seconds, and wrong ends after it."""
    rng, longest, other, tally = random.Random(2), 0.0, 0, Tally()
    for number in range(count):
        folder = scratch / f"terminated_{number}"
        process = start(train_words(folder), folder)
        while process.is_alive() and run_directory(folder) is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.8 * duration))
        began = time.monotonic()
        process.terminate()
        process.join()
        longest = max(longest, time.monotonic() - began)
        other += process.exitcode not in (143, 0)
        directory = run_directory(folder)
        assert directory is not None
        if run(["resume", str(directory)], folder) == 0:
            tally.compare(expected, Outcome.of(directory))
        else:
            tally.not_resumed += 1
        shutil.rmtree(folder)
    return other, longest, tally.wrong_weights + tally.lost_lines + tally.doubled_lines + tally.not_resumed


def measure(counts: dict[str, int], scratch: Path) -> Iterator[tuple[str, str, bool]]:
    """Rows of the table: what was done, what came of it, whether that is as it must be."""
    reference = scratch / "reference"
    assert run(["--version"], reference) == 0  # the first start waits for the imports
    began = time.monotonic()
    assert run(train_words(reference), reference) == 0, (reference / "log.txt").read_text()
    duration = time.monotonic() - began
    directory = run_directory(reference)
    assert directory is not None
    expected = Outcome.of(directory)
    yield "uninterrupted run", f"{duration:.1f} s, {len(expected.metrics)} lines of metrics", True

    runs, kills, tally = kill_many(counts["kills"], scratch, duration, expected)
    for phase, number in tally.phases.most_common():
        yield f"  SIGKILL {phase}", str(number), True
    yield (
        f"runs that came to their end in spite of {kills} SIGKILLs",
        f"{runs - tally.not_resumed} of {runs}",
        not tally.not_resumed,
    )
    yield "  with other weights than the uninterrupted run", str(tally.wrong_weights), not tally.wrong_weights
    lines = f"{tally.lost_lines} lost, {tally.doubled_lines} doubled"
    yield "  metric lines", lines, not tally.lost_lines + tally.doubled_lines
    yield "  with other samples", str(tally.wrong_samples), not tally.wrong_samples
    yield "  temporary files left", str(tally.leftovers), not tally.leftovers

    other, longest, wrong = terminate_many(counts["terms"], scratch, duration, expected)
    yield f"SIGTERM at {counts['terms']} instants: exit codes other than 143 (or 0 at the end)", str(other), not other
    yield "  longest time until saved and ended", f"{longest:.2f} s", longest < SIGTERM_LIMIT
    yield "  resumed to another end, or not", str(wrong), not wrong

    code = run(["reproduce", str(directory)], reference / "again")
    yield "cai reproduce of the uninterrupted run: exit code", str(code), code == 0

    detected, used = damage_many(counts["damages"], scratch, directory)
    yield f"damaged checkpoints detected, of {counts['damages']}", str(detected), detected == counts["damages"]
    yield "  the one before used", str(used), used == counts["damages"]

    shared, wrong = start_pairs(counts["pairs"], scratch, expected)
    yield f"pairs started in one instant that shared a directory, of {counts['pairs']}", str(shared), not shared
    yield "  with a corrupted cache or another end", str(wrong), not wrong


def main() -> int:
    os.environ["PYTHONWARNINGS"] = "ignore"  # a killed process leaves its semaphores to the tracker, which would say so
    counts = {"kills": 100, "terms": 20, "damages": 200, "pairs": 50}
    counts |= {key: int(value) for key, value in (word.split("=") for word in sys.argv[1:])}
    context.set_forkserver_preload(MODULES)
    scratch = Path(tempfile.mkdtemp(prefix="kill_test_"))
    began, good = time.monotonic(), True
    try:
        for what, value, right in measure(counts, scratch):
            good = good and right
            print(f"{what:<78}{value:>32}{'' if right else '   WRONG'}", flush=True)
    finally:
        if good:
            shutil.rmtree(scratch)
        else:
            print(f"kept for inspection: {scratch}")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "safetensors"))
    print(f"\n{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(
        f"{time.strftime('%Y-%m-%d')}, {time.monotonic() - began:.0f} s: {'nothing lost' if good else 'NOT AS IT MUST BE'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
