"""``cai prepare``: tokenizer and token shards alone, on a login node or to look before training."""

from __future__ import annotations

if __name__ == "__main__":  # before PyTorch is imported, which reads an environment variable that the program sets
    from cai.cli import run_verb

    raise SystemExit(run_verb("prepare"))

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from cai.composition import HydraSession
from cai.config.roots import PrepareConfig, TrainConfig
from cai.data.forms import one_sided
from cai.data.report import describe_report
from cai.data.source import SourceConfig
from cai.overrides import parse_arguments
from cai.plan import data_rows, described, wrapped
from cai.store import open_store
from cai.tokens.division import Part
from cai.tokens.learned import learn_tokenizer
from cai.tokens.manifest import NAME, Manifest
from cai.tokens.parts import prepare_part
from cai.tokens.shards import Shards, build_shards
from cai.train import check_surroundings

log = logging.getLogger(__name__)

Rows = list[tuple[str, str]]
"""Names and values."""
SHOWN = 12
"""Numbers of missing parts that are listed."""


def prepare(config: TrainConfig) -> Shards:
    """Learn the tokenizer and write the shards that ``train`` would, into the same cache."""
    corpus = config.data.build()
    return build_shards(corpus, learn_tokenizer(config.tokenizer, corpus, _cache(config)), _cache(config))


def main(words: Sequence[str]) -> int:
    """The ``prepare`` verb: takes what ``train`` takes, ``-m`` included. Returns the exit code."""
    arguments = parse_arguments(words)
    with HydraSession("prepare", arguments) as session:
        jobs = session.jobs(PrepareConfig)
    check_surroundings([job.config for job in jobs])
    for job in jobs:
        begun = time.perf_counter()
        rows, warnings = to_cache(job.config, begun) if job.config.prepare.out is None else to_store(job.config, begun)
        lines = described(rows) + [wrapped("warning", warning) for warning in warnings]
        log.info("\n".join([" ".join(job.swept)] * bool(job.swept) + lines))
    return 0


def to_cache(config: PrepareConfig, begun: float) -> tuple[Rows, list[str]]:
    """Prepare for this machine; what there is to be said of it."""
    shards = prepare(config)
    gate = shards.gate_of(config.tokenizer)
    seconds = time.perf_counter() - begun
    size = (shards.train.bytes + shards.val.bytes) / 1e6
    rows = [*data_rows(shards), ("tokenizer", gate.summary()), ("shards", str(shards.folder))]
    rows.append(("time", f"{seconds:.1f} s ({size / seconds:.1f} MB/s, tokenizer included; from the cache at once)"))
    return rows, [told.sentence for told in [*gate.symptoms(), *one_sided(shards.report)]]


def to_store(config: PrepareConfig, begun: float) -> tuple[Rows, list[str]]:
    """Prepare into a place for other machines, all of it or a part; what there is to be said of it."""
    assert config.prepare.out is not None
    part = Part(*config.prepare.part)
    store = open_store(config.prepare.out, "prepare.out")
    outcome = prepare_part(config.data, config.tokenizer, part, store, _cache(config))
    seconds = time.perf_counter() - begun
    rows: Rows = []
    if part.of > 1:
        own, there = outcome.files or (0, 0)
        made = "was there already" if outcome.was_there else f"put into {store.name}/{part.folder}"
        rows += [("part", f"{part.number} of {part.of}: {own:,} of {there:,} files; {made}"), *figures(outcome.part)]
    if outcome.whole is None:
        numbers = ", ".join(map(str, outcome.missing[:SHOWN])) + ", ..." * (len(outcome.missing) > SHOWN)
        rows.append(("missing", f"{len(outcome.missing):,} of {part.of} parts: {numbers}; the last one writes {NAME}"))
    else:
        rows += [("whole", f"{store.name}/{NAME}"), *figures(outcome.whole)]
        rows.append(("tokenizer", outcome.whole.gate.summary()))
        rows.append(("train", f"cai train data=prepared data.path={store.name}"))
    rows.append(("time", f"{seconds:.1f} s"))
    page = outcome.whole or outcome.part
    warnings = [told.sentence for told in [*page.gate.symptoms(), *one_sided(page.report)]]
    if part.of > 1 and isinstance(config.data, SourceConfig) and config.data.clean.duplicates != "keep":
        warnings.append(
            "duplicates are looked for within a part alone: documents that come again in another part stay. The same text is"
            " on one side of the split all the same."
        )
    return rows, warnings


def figures(page: Manifest) -> Rows:
    """What a prepared corpus, or a part of one, holds."""
    train, val = page.train.stats, page.val.stats
    text = [("text", describe_report(page.report))] if page.report.get("dropped") or page.report.get("changed") else []
    size = (train.bytes + val.bytes) / 1e6
    return [
        *text,
        ("documents", f"{train.documents:,} train + {val.documents:,} val ({size:.1f} MB)"),
        ("tokens", f"{train.tokens:,} train + {val.tokens:,} val, vocabulary {page.vocab_size:,}"),
    ]


def _cache(config: TrainConfig) -> Path:
    return Path(config.output_dir).expanduser() / "cache"
