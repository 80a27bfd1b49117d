"""From documents to ids on all cores, in bounded memory; a kill loses a second's work."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cai.cache import PROGRESS
from cai.data.base import Document, Split
from cai.data.corpus import Corpus, length
from cai.data.report import Report
from cai.files import write_whole
from cai.markup import Part, answer_start, plain_text
from cai.tokenizer.base import Tokenizer
from cai.tokens.writing import SPLITS, Encoded, SplitStats, SplitWriter, confirm

BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 2**20
"""What is encoded at once: enough to keep all cores busy, little enough to bound memory."""

PIECE = 2**18
"""Characters of the longest text that is encoded as one."""

BREAK = re.compile(r"(?<=\S\n)(?=\S)|(?<=\w)(?= \w)")

SAVE_EVERY = 1.0
"""Seconds between two notes of how far it has come."""

Divided = tuple[Document, Split]


def encode_corpus(
    corpus: Corpus, tokenizer: Tokenizer, dtype: np.dtype[Any], folder: Path, dropped: Path
) -> tuple[dict[Split, SplitStats], Report]:
    """Write the ids of both sides to ``folder``, going on from what a killed process left there.

    Reading is repeated from the start, which is fast; what was encoded is passed over. While one batch is encoded, which
    holds no Python lock, the next is read.
    """
    with contextlib.ExitStack() as stack:
        done, writers = _go_on(folder, dtype)
        for writer in writers.values():
            stack.callback(writer.close)
        report = Report(stack.enter_context(dropped.open("w", encoding="utf-8")))
        bar = stack.enter_context(_bar(corpus, sum(writer.stats.bytes for writer in writers.values())))
        saved = time.monotonic()
        for batch in _ahead(_batches(itertools.islice(corpus.divide(report), done, None))):
            for split, encoded in _encode(batch, tokenizer, dtype, end_of_text=corpus.end_of_text).items():
                writers[split].append(encoded)
                bar.update(encoded.counted.bytes)
            done += len(batch)
            if time.monotonic() - saved >= SAVE_EVERY:
                _save(folder, done, writers)
                saved = time.monotonic()
    if not dropped.stat().st_size:
        dropped.unlink()
    return {split: writer.stats for split, writer in writers.items()}, report


def _go_on(folder: Path, dtype: np.dtype[Any]) -> tuple[int, dict[Split, SplitWriter]]:
    """How many documents are done already, and the writers that go on behind them."""
    try:
        page = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        stats = {split: SplitStats(**page[split]) for split in SPLITS}
        for split in SPLITS:
            confirm(folder, split, dtype, stats[split])
        return page["documents"], {split: SplitWriter(folder, split, dtype, stats[split]) for split in SPLITS}
    except (OSError, ValueError, KeyError, TypeError):  # nothing yet; or after a power cut, not what was noted
        for path in folder.iterdir():
            path.unlink()
        return 0, {split: SplitWriter(folder, split, dtype, SplitStats()) for split in SPLITS}


def _ahead(batches: Iterator[list[Divided]]) -> Iterator[list[Divided]]:
    """The same batches, the next one read by another thread while one is at work on this."""
    box: queue.Queue[tuple[list[Divided] | None, BaseException | None]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(batch: list[Divided] | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                box.put((batch, error), timeout=0.1)
                return

    def read() -> None:
        try:
            for batch in batches:
                put(batch)
            put(None)
        except BaseException as error:  # it is raised where the batches are used
            put(None, error)

    threading.Thread(target=read, daemon=True).start()  # daemon: a disk that hangs does not keep the program from ending
    try:
        while True:
            batch, error = box.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stopped.set()


def _batches(documents: Iterable[Divided]) -> Iterator[list[Divided]]:
    batch: list[Divided] = []
    characters = 0
    for each in documents:
        batch.append(each)
        characters += length(each[0])
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encode(batch: list[Divided], tokenizer: Tokenizer, dtype: np.dtype[Any], *, end_of_text: bool) -> dict[Split, Encoded]:
    """Both sides of a batch, encoded in one call; each document in two pieces, what comes before its answer and the rest."""
    pieces = []
    for document, _ in batch:
        cut = answer_start(document.parts)
        cut = len(document.parts) if cut is None else cut
        pieces += [tuple(in_pieces(document.parts[:cut])), tuple(in_pieces(document.parts[cut:]))]
    ids = tokenizer.encode_batch(pieces)
    eos = [tokenizer.eos_id] * end_of_text
    result: dict[Split, Encoded] = {}
    for split in SPLITS:
        chosen = [number for number, (_, side) in enumerate(batch) if side == split]
        if not chosen:
            continue
        before = [ids[2 * number] for number in chosen]
        after = [ids[2 * number + 1] + eos for number in chosen]
        joined = np.fromiter(itertools.chain.from_iterable(itertools.chain(*zip(before, after, strict=True))), dtype=dtype)
        lengths = np.array([len(a) + len(b) for a, b in zip(before, after, strict=True)], dtype=np.int64)
        answered = [bool(pieces[2 * number + 1]) for number in chosen]
        answers = np.where(answered, [len(a) for a in before], lengths)
        result[split] = Encoded(
            joined,
            lengths,
            answers,
            SplitStats(
                documents=len(chosen),
                bytes=sum(len(plain_text(batch[number][0].parts).encode()) for number in chosen),
                tokens=len(joined),
                unknown=int((joined == tokenizer.unknown_id).sum()) if tokenizer.unknown_id is not None else 0,
                answer_bytes=sum(len(plain_text(pieces[2 * number + 1]).encode()) for number in chosen),
                answer_tokens=int((lengths - answers).sum()),
            ),
        )
    return result


def in_pieces(parts: Iterable[Part]) -> Iterator[Part]:
    """The same parts, long ones in several: a document of any length then takes bounded memory to encode.

    They are cut before a word or behind a line end, where a tokenizer's own splits cut too: the ids are the same.
    """
    for part in parts:
        while len(part) > PIECE:
            end = max((match.start() for match in BREAK.finditer(part, PIECE // 2, PIECE)), default=PIECE)
            yield part[:end]
            part = part[end:]
        yield part


def _bar(corpus: Corpus, initial: int) -> tqdm[Any]:
    """MB and MB/s; shown only if it takes longer than a moment."""
    total = corpus.size if corpus.size is None else max(corpus.size, initial)
    return tqdm(total=total, initial=initial, desc="tokens", unit="B", unit_scale=True, delay=2, leave=False)


def _save(folder: Path, done: int, writers: dict[Split, SplitWriter]) -> None:
    for writer in writers.values():
        writer.flush()
    page: dict[str, Any] = {"documents": done}
    page |= {split: asdict(writer.stats) for split, writer in writers.items()}
    write_whole(folder / PROGRESS, json.dumps(page))
