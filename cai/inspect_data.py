"""``cai inspect data``: documents, their varied copies, their tokens, and the rows that a model is fed. (Command layer.)"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cai.composition import HydraSession
from cai.config.inspection import InspectDataConfig
from cai.config.roots import TrainConfig
from cai.data.base import Document
from cai.data.corpus import Corpus
from cai.data.report import Report, describe_report
from cai.data.source import SourceConfig
from cai.errors import ConfigError
from cai.inspect import divide, wants_colour
from cai.markup import plain_text
from cai.model.base import IGNORE_INDEX
from cai.overrides import refuse_sweep
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.display import show_tokens
from cai.tokens.batches import dataset_of
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import build_shards

Shown = Iterator[tuple[str, str]]
"""A title and a text for each sample."""


def main(words: Sequence[str]) -> int:
    """Print some samples of a stage of what the words compose, as for ``train``. Returns the exit code."""
    options, arguments = divide(words, "inspect_data", InspectDataConfig)
    refuse_sweep(arguments, "inspect data")
    with HydraSession("train", arguments) as session:
        config = session.jobs(TrainConfig)[0].config
    config.data.check()
    config.tokenizer.check()
    shown = STAGES[options.stage](config, wants_colour())
    for title, text in itertools.islice(shown, options.count):
        print(f"--- {title}\n{text}")
    if options.stage in ("read", "cleaned"):
        report = Report()
        kept = sum(1 for _ in corpus_of(config, options.stage).documents(report))
        print(f"--- all: {describe_report(report.to_tree())}; {kept:,} documents", file=sys.stderr)
    return 0


def corpus_of(config: TrainConfig, stage: str) -> Corpus:
    """The corpus at ``stage``: as it is read, without any cleaning, chunks or copies; or with all of it."""
    data = config.data
    if stage == "read":
        if not isinstance(data, SourceConfig):
            raise ConfigError("stage=read shows files as they are read, but this data is not read from files.")
        data = data.as_read()
    return data.build()


def documents(config: TrainConfig, stage: str) -> Shown:
    """Documents of both sides, in order; of a corpus that was prepared before, those of validation."""
    for document, side in corpus_of(config, stage).divide():
        yield _title(document, side), plain_text(document.parts)


def varied(config: TrainConfig, colour: bool) -> Shown:
    """Train documents, each followed by its varied copies."""
    corpus = config.data.build()
    if corpus.prepared is not None:
        raise ConfigError("stage=varied shows varied copies of text, but data=prepared has its ids alone. Try stage=rows.")
    if not corpus.copies or corpus.vary is None:
        raise ConfigError("stage=varied shows varied copies, but data.augment.copies is 0. Try data.augment.copies=2.")
    for document in corpus.select("train"):
        yield _title(document, "train"), plain_text(document.parts)
        for number in range(1, corpus.copies + 1):
            yield f"copy {number}", plain_text(corpus.vary(document, number).parts)


def tokens(config: TrainConfig, colour: bool) -> Shown:
    """Documents as tokens."""
    corpus = config.data.build()
    tokenizer = _tokenizer(config, corpus)
    for document, side in corpus.divide():
        ids = tokenizer.encode_parts(document.parts)
        yield f"{_title(document, side)}, {len(ids)} tokens", show_tokens(tokenizer, ids, colour=colour, with_ids=False)


def rows(config: TrainConfig, colour: bool) -> Shown:
    """The rows of the first steps; what is not a target stands in brackets."""
    corpus = config.data.build()
    tokenizer = _tokenizer(config, corpus)
    shards = build_shards(corpus, tokenizer, _cache(config))
    dataset = dataset_of(corpus, shards, config.model.block_size, config.seed, IGNORE_INDEX)
    for step in itertools.count():
        x, y, *_ = dataset.batch(step, 1)
        pieces = []
        for counted, group in itertools.groupby(range(x.shape[1]), key=lambda place: y[0, place] != IGNORE_INDEX):
            text = tokenizer.decode(y[0, place] if counted else x[0, place] for place in group)
            pieces.append(text if counted else f"⟦{text}⟧")
        yield f"row {step} of {dataset.n_windows:,}: {int((y != IGNORE_INDEX).sum())} targets", "".join(pieces)


def _tokenizer(config: TrainConfig, corpus: Corpus) -> Tokenizer:
    return learn_tokenizer(config.tokenizer, corpus, _cache(config))


def _cache(config: TrainConfig) -> Path:
    return Path(config.output_dir).expanduser() / "cache"


def _title(document: Document, side: str) -> str:
    group = f", {document.group}" if document.group else ""
    return f"{side}{group}{', ' if document.where else ''}{document.where}"


STAGES: dict[str, Callable[[TrainConfig, bool], Shown]] = {
    "read": lambda config, _: documents(config, "read"),
    "cleaned": lambda config, _: documents(config, "cleaned"),
    "varied": varied,
    "tokens": tokens,
    "rows": rows,
}
"""What can be shown, in the order in which text goes through it."""
