"""``cai inspect tokenizer``: its figures, its vocabulary, a text's tokens. (Command layer.)

PyTorch is imported only where a run's config is read: the tokenizer of a file is shown at once.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cai.composition import HydraSession
from cai.config.inspection import InspectTokenizerConfig
from cai.errors import ConfigError, DataError
from cai.inspect import divide, wants_colour
from cai.markup import Tag, parse_tags
from cai.overrides import Arguments
from cai.runs import CONFIG, find_run
from cai.tokenizer.base import Tokenizer
from cai.tokenizer.display import aligned, compare, facts, figures, show_tokens
from cai.tokenizer.pretrained import read_tokenizer
from cai.tokenizer.report import TokenizerReport, describe

if TYPE_CHECKING:
    from cai.config.roots import TrainConfig
    from cai.data.corpus import Corpus


BOTH = "output_dir"
"""An option of this verb and of ``train``."""


def main(words: Sequence[str]) -> int:
    """The ``inspect tokenizer`` verb: of a file, of a run, or of what the words compose. Returns the exit code."""
    options, arguments = divide(words, "inspect_tokenizer", InspectTokenizerConfig, [BOTH])
    if options.run is None and options.path is None:
        return composed_tokenizers(options, arguments)
    refuse_others(arguments)
    if options.path is not None:
        tokenizer = read_tokenizer(Path(os.path.expanduser(options.path)), option="path")
        report = None if options.text is None else describe(tokenizer, [options.text])
        print_page(options.path, tokenizer, report, over="the text given")
    else:
        tokenizer, report = tokenizer_of_run(options, arguments)
    print_text(tokenizer, options)
    return finish([("", report)])


def tokenizer_of_run(options: InspectTokenizerConfig, arguments: Arguments) -> tuple[Tokenizer, TokenizerReport | None]:
    """Print the page of a run's tokenizer: over its own text if that is still there, else over the text given."""
    from cai.config.roots import TrainConfig
    from cai.config.saved import load_config
    from cai.run import TOKENIZER

    assert options.run is not None
    directory = find_run(options.run, Path(options.output_dir).expanduser(), checkpoint=None)
    config = load_config(directory / CONFIG, TrainConfig, arguments.trusted)
    tokenizer = Tokenizer.load(directory / TOKENIZER)
    asked = asked_of(config)
    try:
        config.data.check()
        over, texts = some_texts(config.data.build())
        report: TokenizerReport | None = describe(tokenizer, texts, asked)
    except DataError as error:
        print(f"note: without the run's own text, as {error}", file=sys.stderr)
        over = "the text given"
        report = None if options.text is None else describe(tokenizer, [options.text], asked)
    print_page(str(directory), tokenizer, report, over)
    return tokenizer, report


def composed_tokenizers(options: InspectTokenizerConfig, arguments: Arguments) -> int:
    """Learn the tokenizer of every job as training would, into the same cache, and show one or compare several."""
    from cai.config.roots import TrainConfig
    from cai.tokens.learned import learn_tokenizer

    with HydraSession("train", arguments) as session:
        jobs = session.jobs(TrainConfig)
    for job in jobs:
        job.config.data.check()
        job.config.tokenizer.check()
    sizes: dict[str, tuple[int, int]] = {}
    rows, tokenizers = [], []
    for number, job in enumerate(jobs):
        config, name = job.config, " ".join(job.swept)
        if len(jobs) > 1:
            print(f"[{number + 1}/{len(jobs)}] {name}", file=sys.stderr)
        corpus = config.data.build()
        tokenizer = learn_tokenizer(config.tokenizer, corpus, Path(config.output_dir).expanduser() / "cache")
        over, texts = some_texts(corpus)
        report = describe(tokenizer, texts, asked_of(config))
        if corpus.fingerprint not in sizes:
            sizes[corpus.fingerprint] = size_of(corpus)
        size, extra = sizes[corpus.fingerprint]
        tokens = round(size / report.bytes_per_token) + extra if report.tokens else 0
        rows.append((name, report, tokens, embedding_parameters(config, tokenizer)))
        tokenizers.append(tokenizer)
        if len(jobs) == 1:
            print_page("", tokenizer, report, over)
    print(compare(rows))
    for (name, *_), tokenizer in zip(rows, tokenizers, strict=True):
        print_text(tokenizer, options, name)
    return finish((name, report) for name, report, *_ in rows)


def refuse_others(arguments: Arguments) -> None:
    """With ``run=`` or ``path=`` there is nothing to compose."""
    words = [word for word in arguments.typed if not word.startswith(f"{BOTH}=")]
    words += ["-m"] * arguments.multirun + ["--config-dir"] * (arguments.config_dir is not None)
    problems = [f"`{word}` must be left out beside run= or path=, which name a tokenizer that exists." for word in words]
    if problems := [*arguments.problems, *problems]:
        raise ConfigError(problems)


def some_texts(corpus: Corpus) -> tuple[str, Iterator[str]]:
    """Validation text, which the tokenizer has not learned from; if there is none, train text. And which of them it is."""
    texts = corpus.texts("val")
    if (first := next(texts, None)) is None:
        return "train text", corpus.texts("train")
    return "validation text", itertools.chain([first], texts)


def asked_of(config: TrainConfig) -> int | None:
    """The vocabulary that a config asks for, if its tokenizer is one that can be asked."""
    size = getattr(config.tokenizer, "vocab_size", None)
    return size if isinstance(size, int) else None


def size_of(corpus: Corpus) -> tuple[int, int]:
    """Bytes of the train documents' ordinary text, and the special tokens that go with it."""
    if corpus.prepared is not None:
        stats = corpus.prepared.manifest.train.stats
        return stats.bytes, stats.documents * corpus.end_of_text
    size = extra = 0
    for document in corpus.select("train"):
        ordinary = [part for part in document.parts if not isinstance(part, Tag)]
        size += sum(len(part.encode()) for part in ordinary)
        extra += len(document.parts) - len(ordinary) + corpus.end_of_text
    return size, extra


def embedding_parameters(config: TrainConfig, tokenizer: Tokenizer) -> int | None:
    """Of the embedding, and of the head if it has weights of its own; ``None`` for a model that does not say its width."""
    width = getattr(config.model, "n_embd", None)
    return None if width is None else tokenizer.vocab_size * width * (1 if getattr(config.model, "tie_weights", True) else 2)


def print_page(title: str, tokenizer: Tokenizer, report: TokenizerReport | None, over: str) -> None:
    """What a tokenizer is, and its figures over a sample."""
    if title:
        print(title)
    print(aligned(facts(tokenizer)))
    if report is not None:
        print(f"over {over} ({report.bytes:,} bytes):\n{aligned(figures(report))}")


def print_text(tokenizer: Tokenizer, options: InspectTokenizerConfig, name: str = "") -> None:
    """The tokens of the text given, if one is."""
    if options.text is None:
        return
    ids = tokenizer.encode_parts(parse_tags(options.text) if options.parse_tags else (options.text,))
    title = f"{name} " * bool(name) + f"{len(ids)} tokens for {len(options.text)} characters:"
    print(f"\n{title}\n{show_tokens(tokenizer, ids, colour=wants_colour(), with_ids=options.ids)}")


def finish(reports: Iterable[tuple[str, TokenizerReport | None]]) -> int:
    """Say what to mend, of each tokenizer under its name. Raises ``DataError`` if one of them loses text."""
    problems = []
    for name, report in reports:
        if report is not None:
            start = f"{name}: " * bool(name)
            problems += [start + problem for problem in report.problems()]
            print("".join(f"warning: {start}{warning}\n" for warning in report.warnings()), end="")
    if problems:
        raise DataError("\n".join(problems))
    return 0
