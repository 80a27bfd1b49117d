"""``cai inspect attention``: where the heads of a run look, as figures, as a page and as a picture. (Command layer.)"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from cai.comparison.plots import PlotsUnavailable
from cai.config.looking import InspectAttentionConfig
from cai.decoding.row import Row
from cai.errors import ConfigError, OutputError
from cai.inspect import read_options
from cai.inspection.attention import (
    INDUCTION,
    Head,
    Induction,
    attention_of,
    chance_of,
    heads_of,
    induction_of,
    names_of,
    refuse_without_attention,
    span_between,
)
from cai.inspection.attention_page import Seen, write_page
from cai.inspection.attention_picture import write_picture
from cai.inspection.pieces import token_texts
from cai.markup import DOC, DOC_END
from cai.prompt import Prompt
from cai.run import claim_directory
from cai.runs import find_run
from cai.show import warn
from cai.trained import TrainedRun, load_trained

PAGE, PICTURE = "attention.html", "attention.png"


def main(words: Sequence[str]) -> int:
    """Print the figures of every head over a prompt, and write the page and the picture. Returns the exit code."""
    options, trusted = read_options(words, "inspect_attention", InspectAttentionConfig)
    device = options.device.build()
    device.set_up()
    directory = find_run(options.run, Path(options.output_dir).expanduser(), options.checkpoint)
    trained = load_trained(directory, options.checkpoint, device, trusted)
    refuse_without_attention(trained.model)
    print(f"({directory})", file=sys.stderr)
    prompt = Prompt.of(options.question, options.doc, options.prompt)
    warn(prompt, trained)
    ids, given = tokens_of(prompt, trained, options.max_new_tokens)
    seen, induction = look(trained, ids, given, options.seed, directory)
    print(described(seen, induction))
    folder = folder_of(options.out, directory)
    write_page(seen, folder / PAGE)
    print(f"\npage     {folder / PAGE}")
    try:
        note = write_picture(seen, folder / PICTURE)
    except PlotsUnavailable as error:
        print(f"no picture: {error}", file=sys.stderr)
    else:
        print(f"picture  {folder / PICTURE}" + f"\nnote: {note}" * bool(note))
    return 0


def tokens_of(prompt: Prompt, trained: TrainedRun, more: int) -> tuple[list[int], int]:
    """The ids that the model sees, ``more`` of its own behind those of the prompt; and how many are the prompt's.

    A prompt that is too long is cut as for generation. Nothing is written that would push its beginning out.
    """
    ids = trained.tokenizer.encode_parts(prompt.parts) or [trained.tokenizer.eos_id]
    block_size = trained.config.model.block_size
    row = Row((0,), ids, block_size)
    given, more = len(row.context), min(more, block_size - len(row.context))
    if not more:
        return row.context, given
    surest = {"temperature": 0.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    rest = {"no_repeat_ngram": 0, "max_new_tokens": more, "stop": (), "lookup_tokens": 0, "show": None}
    generator = trained.config.generation.model_copy(update=surest | rest).build(trained.model, trained.tokenizer)
    (written,) = generator.complete([prompt.parts], seed=0)
    return [*row.context, *written.ids], given


def look(trained: TrainedRun, ids: Sequence[int], given: int, seed: int, directory: Path) -> tuple[Seen, Induction | None]:
    """What all heads do over ``ids``, of which so many were ``given``."""
    if len(ids) < 2:
        raise ConfigError(
            "the prompt, with what the model writes on, must have at least 2 tokens, of which one can look at another, but"
            " has 1. Try a longer prompt."
        )
    tokenizer = trained.tokenizer
    special = set(tokenizer.tag_ids.values())
    layers = attention_of(trained.model, ids)
    induction = induction_of(trained.model, [i for i in range(tokenizer.vocab_size) if i not in special], seed)
    document = span_between(ids, tokenizer.tag_ids[DOC], tokenizer.tag_ids[DOC_END])
    heads = heads_of(layers, induction, document)
    model = type(trained.config.model).__name__.removesuffix("Config")
    written = f" and {len(ids) - given} that the model wrote, underlined" if len(ids) > given else ""
    seen = Seen(
        title=f"Attention of {directory.parent.name}/{directory.name}",
        about=f"{trained.checkpoint} (step {trained.step:,}), {model}, {len(layers)} layers; {given} tokens of the"
        f" prompt{written}. Layers and heads are counted from 0.",
        texts=token_texts([tokenizer.token_bytes[number] for number in ids]),
        special=[number in special for number in ids],
        prompt=given,
        document=document,
        heads=heads,
        names=[names_of(head, len(ids)) for head in heads],
        layers=layers,
    )
    return seen, induction


def described(seen: Seen, induction: Induction | None) -> str:
    """The figures as a table, what they mean, and what the heads look like."""
    columns = ["head", "entropy", "of most", "token before", "itself", "first token"]
    columns += ["document"] * (seen.document is not None) + ["induction"] * (induction is not None)
    lines = [[*columns, ""], *(_row(head, names) for head, names in zip(seen.heads, seen.names, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join([*map(str.rjust, line[:-1], widths), line[-1]]).rstrip() for line in lines]
    written = f" + {len(seen.texts) - seen.prompt} written on" if len(seen.texts) > seen.prompt else ""
    return "\n".join([f"{seen.prompt} tokens of the prompt{written}", *table, "", *_notes(seen, induction)])


def _row(head: Head, names: Sequence[str]) -> list[str]:
    shares = [head.relative, head.previous, head.itself, head.first]
    shares += [share for share in (head.document, head.induction) if share is not None]
    return [f"{head.layer}.{head.head}", f"{head.entropy:.2f}", *(f"{share:.1%}" for share in shares), ", ".join(names)]


def _notes(seen: Seen, induction: Induction | None) -> list[str]:
    notes = [
        "head       layer.head, from 0; shares are of a token's attention, means over all tokens but the first",
        "entropy    bits, and the share of what it would be if all that a token may see got alike",
    ]
    if seen.document is not None:
        alike = chance_of(seen.document, len(seen.texts))
        notes.append(f"document   from the tokens behind it; everywhere alike would be {alike:.1%}")
    if induction is None:
        return [*notes, "", "no induction score: the model must see at least 4 tokens"]
    notes.append(
        f"induction  {induction.length} random tokens stand twice; from the second half to the token that came next the"
        f" first\n           time; everywhere alike would be {induction.chance:.1%} (arXiv:2209.11895)"
    )
    return [*notes, "", textwrap.fill(in_words(seen.heads), width=110)]


def in_words(heads: Sequence[Head]) -> str:
    """Which heads look like induction heads, and what that means."""
    scored = sorted(((head.induction, head) for head in heads if head.induction is not None), reverse=True)
    found = [f"{head.layer}.{head.head} ({score:.0%})" for score, head in scored if score >= INDUCTION]
    if not found:
        score, best = scored[0]
        return (
            f"No head looks like an induction head, which finds what came next the last time: that takes a score of"
            f" {INDUCTION:.0%}, and the most is {score:.1%} ({best.layer}.{best.head}). Such heads form in training, all at"
            " once, when the loss falls quickly; a model without one cannot copy from its prompt."
        )
    who = "looks like an induction head" if len(found) == 1 else "look like induction heads"
    return (
        f"{', '.join(found)} {who} (a score of {INDUCTION:.0%} or more): where a text repeats, it finds what came next the"
        " last time. That is how a model copies from its prompt."
    )


def folder_of(out: str | None, directory: Path) -> Path:
    """Where the files go, made if it is not there. Raises ``OutputError``."""
    if out is None:
        try:
            return claim_directory(directory / "attention")
        except OutputError as error:
            raise OutputError(f"{directory} must be writable, but is not. Try out=attention.") from error
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"out must be a folder that can be written to, but {out} is not ({error.strerror}).") from error
    return folder
