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
from cai.config.roots import TrainConfig
from cai.data.forms import one_sided
from cai.overrides import parse_arguments
from cai.plan import data_rows, described, wrapped
from cai.tokens.learned import learn_tokenizer
from cai.tokens.shards import Shards, build_shards
from cai.train import check_surroundings

log = logging.getLogger(__name__)


def prepare(config: TrainConfig) -> Shards:
    """Learn the tokenizer and write the shards that ``train`` would, into the same cache."""
    cache = Path(config.output_dir).expanduser() / "cache"
    corpus = config.data.build()
    return build_shards(corpus, learn_tokenizer(config.tokenizer, corpus, cache), cache)


def main(words: Sequence[str]) -> int:
    """The ``prepare`` verb: takes what ``train`` takes, ``-m`` included. Returns the exit code."""
    arguments = parse_arguments(words)
    with HydraSession("train", arguments) as session:
        jobs = session.jobs(TrainConfig)
    check_surroundings([job.config for job in jobs])
    for job in jobs:
        begun = time.perf_counter()
        shards = prepare(job.config)
        gate = shards.gate_of(job.config.tokenizer)
        seconds = time.perf_counter() - begun
        size = (shards.train.bytes + shards.val.bytes) / 1e6
        rows = [*data_rows(shards), ("tokenizer", gate.summary()), ("shards", str(shards.folder))]
        rows.append(("time", f"{seconds:.1f} s ({size / seconds:.1f} MB/s, tokenizer included; from the cache at once)"))
        warnings = [wrapped("warning", told.sentence) for told in [*gate.symptoms(), *one_sided(shards.report)]]
        log.info("\n".join([" ".join(job.swept)] * bool(job.swept) + described(rows) + warnings))
    return 0
