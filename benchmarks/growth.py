"""How the cost of each part of training grows with the corpus, and what 10^12 tokens would cost.

    python benchmarks/growth.py

Preparation, index, the beginning of a run, batches, evaluation and checkpoints are measured at rising sizes, each in a
process of its own, and carried on to 10^12 tokens along the line through the largest two. Text is made by the script.
Batches are read out of token files as large as they would be, up to 2 TB, which are sparse (`truncate`): the system reads
zeros, and no disk is waited for. A minute or two.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import last_json, median, report, run

from cai.composition import compose
from cai.device import process_peak_memory
from cai.model.base import IGNORE_INDEX
from cai.tokenizer.base import Tokenizer
from cai.tokens.batches import TokenDataset
from cai.tokens.learned import learn_tokenizer
from cai.tokens.packing import PackedRows
from cai.tokens.permutation import Permutation
from cai.tokens.shards import Shards, build_shards
from cai.tokens.writing import SHARD_TOKENS, SplitStats, index_path, shard_path
from cai.trainer.checkpoint import Checkpoint, save_checkpoint

GOAL = 10**12  # tokens
BYTES = 4
"""Of text in a token: about what a vocabulary of some ten thousand makes of English or Korean."""
BLOCK, ROWS = 1024, 32
DOCUMENT = 500  # tokens, on average
TEXT = (2, 8, 32)  # megabytes
DOCUMENTS = (10**4, 10**5, 10**6, 10**7)
TOKENS = (10**6, 10**9, 10**11, 10**12)
PARAMETERS = (10**6, 10**7, 3 * 10**7)
BATCHES = 400

Figures = dict[str, float]


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def prepare(folder: Path, megabytes: int) -> Figures:
    """Text to token shards; and what a run reads of the text again when it begins."""
    text = folder / f"{megabytes}.txt"
    write_text(text, megabytes)
    config = compose(["data=text", f"data.path={text}", "tokenizer=bpe", "tokenizer.vocab_size=4000"])
    saved = folder / "tokenizer.json"
    if not saved.is_file():  # learned once, of the smallest text
        learn_tokenizer(config.tokenizer, config.data.build(), folder / "learned").save(saved)
    tokenizer, begun = Tokenizer.load(saved), resident()
    hashing = timed(config.data.build)
    corpus = config.data.build()
    shards: list[Shards] = []
    seconds = timed(lambda: shards.append(build_shards(corpus, tokenizer, folder / "cache")))
    return {
        "size": text.stat().st_size,
        "seconds": seconds,
        "memory": process_peak_memory() - begun,
        "hashing": hashing,
        "tokens": shards[0].train.tokens + shards[0].val.tokens,
        "disk": sum(path.stat().st_size for path in shards[0].folder.iterdir()),
    }


def write_text(path: Path, megabytes: int) -> None:
    """Documents of made-up words, the frequent ones much more frequent."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnoprstuvwyz가나다라마바사아자하"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, 20000)])
    left = megabytes * 10**6
    with path.open("wb") as file:
        while left > 0:
            chosen = words[np.minimum(rng.zipf(1.2, 200 * DOCUMENT), len(words)) - 1].reshape(200, DOCUMENT)
            left -= file.write("".join(" ".join(row) + "\n\n" for row in chosen).encode())


def index(folder: Path, documents: int) -> Figures:
    """`packing=documents`: the rows of all documents, computed when a run begins."""
    sizes = np.random.default_rng(documents).integers(2, 2 * DOCUMENT, documents)
    starts, before, found = np.cumsum(sizes) - sizes, resident(), list[PackedRows]()
    seconds = timed(lambda: found.append(PackedRows(starts, int(sizes.sum()), BLOCK + 1)))
    peak, rows = process_peak_memory() - before, found[0]
    held = rows._starts.nbytes + rows._sizes.nbytes + rows._ends.nbytes
    rng = np.random.default_rng(0)
    one = median([timed(lambda: rows[int(rng.integers(len(rows)))]) for _ in range(BATCHES)])
    return {"size": documents, "seconds": seconds, "memory": peak, "held": held, "row": one}


def simulated(folder: Path, tokens: int, val_tokens: int = 10**6) -> Shards:
    """Shards of zeros that take no room on the disk."""
    folder.mkdir()
    for split, count in (("train", tokens), ("val", val_tokens)):
        for number in range(-(-count // SHARD_TOKENS)):
            path = shard_path(folder, split, number)  # type: ignore[arg-type]
            path.touch()
            os.truncate(path, 2 * min(SHARD_TOKENS, count - number * SHARD_TOKENS))
    train, val = (SplitStats(documents=1, bytes=4 * count, tokens=count) for count in (tokens, val_tokens))
    return Shards(folder, "simulated", "simulated", "uint16", 4000, train, val)


def batches(folder: Path, tokens: int) -> Figures:
    """`packing=stream`: a batch of 32 x 1,024 tokens anywhere in the corpus, and what else a run does when it begins."""
    shards = simulated(folder / str(tokens), tokens)
    begun = time.perf_counter()
    dataset = TokenDataset(shards, BLOCK, 1, IGNORE_INDEX)
    assert dataset.loss_without_context == 0.0  # of zeros
    start = time.perf_counter() - begun
    steps = np.random.default_rng(0).integers(max(1, dataset.n_windows // ROWS), size=2 * BATCHES).tolist()
    for step in steps[:BATCHES]:
        dataset.batch(step, ROWS)
    before = resident()
    seconds = [timed(lambda step=step: dataset.batch(step, ROWS)) for step in steps[BATCHES:]]  # type: ignore[misc]
    order, positions = Permutation(dataset.n_windows, 1, 1), np.arange(ROWS) % dataset.n_windows
    permuting = median([timed(lambda: order(positions)) for _ in range(BATCHES)])
    figures = {"size": tokens, "seconds": median(seconds), "memory": resident() - before, "start": start}
    return {**figures, "permuting": permuting, "files": len(list((folder / str(tokens)).iterdir()))}


def evaluation(folder: Path, tokens: int) -> Figures:
    """What `trainer.eval_max_tokens` leaves of an evaluation, the model's own work left out: in both packings."""
    shards = simulated(folder / f"val{tokens}", 10**6, tokens)
    documents = tokens // DOCUMENT
    positions = np.arange(documents, dtype="<i8")[:, None] * DOCUMENT
    for split, count in (("train", 1), ("val", documents)):
        (positions[:count] + np.array([[0, DOCUMENT]])).astype("<i8").tofile(index_path(shards.folder, split))  # type: ignore[arg-type]
    shards = Shards(
        **{name: getattr(shards, name) for name in ("folder", "fingerprint", "content", "dtype", "vocab_size", "train")},
        val=SplitStats(documents=documents, bytes=4 * tokens, tokens=tokens),
    )
    found = {}
    for packing in ("stream", "documents"):
        dataset = TokenDataset(shards, BLOCK, 1, IGNORE_INDEX, packing=packing)
        found[packing] = median([timed(lambda: list(dataset.val_batches(ROWS, 2**17))) for _ in range(9)])  # noqa: B023
    return {"size": tokens, "seconds": found["stream"], "memory": 0, "documents": found["documents"]}


def checkpoint(folder: Path, parameters: int) -> Figures:
    """Weights and the two averages of AdamW's; the corpus has no part in it."""
    tensors = {f"layer{number}": torch.randn(parameters // 10) for number in range(10)}
    state = {name: {"exp_avg": each - 1, "exp_avg_sq": each + 1} for name, each in tensors.items()}
    path = folder / f"{parameters}.safetensors"
    seconds = median([timed(lambda: save_checkpoint(path, Checkpoint(tensors, state))) for _ in range(3)])
    return {"size": parameters, "seconds": seconds, "memory": 0, "disk": path.stat().st_size}


PARTS: dict[str, tuple[Callable[[Path, int], Figures], tuple[int, ...]]] = {
    "preparation": (prepare, TEXT),
    "index of documents": (index, DOCUMENTS),
    "a batch": (batches, TOKENS),
    "an evaluation": (evaluation, (10**6, 10**7, 10**8)),
    "a checkpoint": (checkpoint, PARAMETERS),
}


def power(found: list[Figures], name: str = "seconds") -> float:
    """By which the cost grows with the size between the largest two: 1 is linear, 0 flat."""
    low, high = found[-2:]
    return math.log(high[name] / low[name]) / math.log(high["size"] / low["size"])


def carried_on(found: list[Figures], goal: float, name: str = "seconds") -> float:
    """The line through the largest two, at ``goal``."""
    low, high = found[-2:]
    slope = (high[name] - low[name]) / (high["size"] - low["size"])
    return high[name] + slope * (goal - high["size"])


def projection(found: dict[str, list[Figures]]) -> list[list[object]]:
    """What 10^12 tokens come to: time, bytes, and the power with which the time grows."""
    text, packed = found["preparation"], found["index of documents"]
    read, held = found["a batch"][-1], found["an evaluation"]
    documents = GOAL / DOCUMENT

    def hours(part: list[Figures], goal: float, name: str = "seconds") -> str:
        return f"{carried_on(part, goal, name) / 3600:,.1f} h"

    def gigabytes(part: list[Figures], goal: float, name: str) -> str:
        return f"{carried_on(part, goal, name) / 1e9:,.0f} GB"

    memory, goal = gigabytes(packed, documents, "memory"), GOAL * BYTES
    of_batch, val = f"{read['memory'] / 1024:.0f} KiB more after {BATCHES}", carried_on(held, GOAL / 100, "documents")
    shards = f"{GOAL * text[-1]['disk'] / text[-1]['tokens'] / 1e9:,.0f} GB"
    rows = [
        ("preparation in one process, 4 TB of text", hours(text, goal), shards, power(text)),
        ("hash of the text, whenever a run begins", hours(text, goal, "hashing"), "", power(text, "hashing")),
        ("packing=documents, whenever a run begins", hours(packed, documents), f"{memory} of memory", power(packed)),
        ("  kept of that", "", gigabytes(packed, documents, "held"), power(packed, "held")),
        ("  a row of it", f"{1e6 * packed[-1]['row']:.1f} us", "", power(packed, "row")),
        ("packing=stream, whenever a run begins", f"{read['start']:.2f} s", "", power(found["a batch"], "start")),
        ("a batch of 32 x 1,024", f"{1e6 * read['seconds']:.0f} us", of_batch, power(found["a batch"])),
        ("  its permutation", f"{1e6 * read['permuting']:.0f} us", "", power(found["a batch"], "permuting")),
        ("reading 2^17 validation targets, stream", f"{1e3 * held[-1]['seconds']:.1f} ms", "", power(held)),
        ("  documents, 1 % of the text held back", f"{val:.1f} s", "", power(held, "documents")),
    ]
    return [["at 10^12 tokens", "time", "bytes", "power"], *map(list, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)  # in a process of its own: name, folder, size
    options = parser.parse_args()
    if options.part:
        name, folder, size = options.part
        print(json.dumps(PARTS[name][0](Path(folder), int(size))))
        return
    found: dict[str, list[Figures]] = {}
    rows: list[list[object]] = [["part", "size", "seconds", "memory, MB", "other"]]
    for name, (_, sizes) in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            for size in sizes:
                done = run([sys.executable, __file__, "--part", name, folder, str(size)])
                figures: dict[str, Any] = last_json(done.output)
                found.setdefault(name, []).append(figures)
                other = ", ".join(
                    f"{key} {value:.4g}" for key, value in figures.items() if key not in ("size", "seconds", "memory")
                )
                rows.append([name, f"{figures['size']:,}", figures["seconds"], figures["memory"] / 1e6, other])
                print(f"{name}: {size:,}", file=sys.stderr, flush=True)
    report("growth", rows, found)
    print()
    report("growth_projection", projection(found), {"goal": GOAL})


if __name__ == "__main__":
    main()
