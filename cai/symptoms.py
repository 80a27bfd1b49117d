"""What can be seen to be wrong with a prompt or a text, and what helps. One table: who sees a symptom tells it by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from cai.data.answers import ABSENT, CONTACT_LABELS

if TYPE_CHECKING:
    from cai.decoding.row import End
    from cai.generation import GenerationConfig

TABLE: Final[dict[str, tuple[str, str]]] = {
    # name: (what is to be seen, what helps)
    "long_prompt": (
        "the prompt has {length} tokens, but the model sees {block_size} (model.block_size): all but its last {kept} are"
        " cut off.",
        "Shorten doc=.",
    ),
    "no_questions": ("this run's text had no questions; it does not know their form.", "Try prompt=..."),
    "repeats": ("the text repeats itself ({fact}).", "Try {remedy}."),
    "unfinished": (
        "the answer was cut off at generation.max_new_tokens={limit}, before its [/ANSWER].",
        "Try generation.max_new_tokens={more}.",
    ),
    "broken": ("the text has {count} characters that are none (�).", "{surer}"),
    "sections": ("the answer has not all its sections, once and in order, but {found}.", "{surer}"),
    "invented": ("the answer gives what stands nowhere in the document: {values}.", "{surer}"),
}

HEADINGS: Final = ("요약", "체크리스트", "연락처(공공정보)", "상세 설명")
"""The sections of an answer."""

REPEATED_SHARE: Final = 0.5
"""Of a text's runs of four words, so many are there before. In 12,000 answers of the embedded corpus at most 0.06. Of
30,000 windows each (400 to 2,500 characters) of two novels, drama and reviews none has so many; of the Bible's 24 have.
"""
FEWEST_RUNS: Final = 6
"""A text with fewer runs of four words is too short to tell."""
SAME_LINES: Final = 3
"""The same line so many times running. Those texts have it twice at most; up to 2 % of
windows of documentation with code have it, where lines of code repeat."""
BROKEN: Final = 3
"""So many replacement characters; one may stand at the end of a text that was cut off."""


class Told(NamedTuple):
    """A symptom that was seen."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Writing:
    """A text that was written, and what it is judged by."""

    text: str
    end: End
    options: GenerationConfig
    begun: str | None = None
    """What the prompt holds of the answer already; ``None`` if the text is no answer."""
    document: str | None = None


def tell(name: str, **facts: object) -> Told:
    """A row of the table, filled in."""
    return Told(name, " ".join(TABLE[name]).format(**facts))


def symptoms_of_prompt(length: int, block_size: int, *, asks: bool, learned_to_answer: bool) -> list[Told]:
    """What will not stop the model but spoil its text. ``asks``: whether the prompt is built of a question."""
    found = []
    if length > block_size:
        found.append(tell("long_prompt", length=length, block_size=block_size, kept=max(1, block_size // 2)))
    if asks and not learned_to_answer:
        found.append(tell("no_questions"))
    return found


def symptoms_of(writing: Writing) -> list[Told]:
    """What can be told from the text alone. A good answer has none."""
    found = []
    if fact := repetition(writing.text):
        found.append(tell("repeats", fact=fact, remedy=_against_repetition(writing.options)))
    elif writing.begun is not None and writing.end == "length":  # a loop would not end later either
        limit = writing.options.max_new_tokens
        found.append(tell("unfinished", limit=limit, more=max(600, -(-3 * limit // 2))))
    if (count := writing.text.count("\ufffd")) >= BROKEN:
        found.append(tell("broken", count=count, surer=_surer(writing.options)))
    if writing.begun is not None:
        found += _symptoms_of_answer(writing, writing.begun + writing.text)
    return found


def _symptoms_of_answer(writing: Writing, answer: str) -> Iterator[Told]:
    surer = _surer(writing.options)
    if found := disorder(answer, whole=writing.end == "tag"):
        yield tell("sections", found=found, surer=surer)
    if writing.document is not None and (values := list(invented(answer, writing.document))):
        yield tell("invented", values=", ".join(values), surer=surer)


def repetition(text: str) -> str:
    """How a text repeats itself: by seq-rep-4 (arXiv:1908.04319) over words, or a line that comes again and again."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Of two words or more: code closes one brace or tag after another.
    longest = max((len(list(same)) for line, same in groupby(lines) if len(line.split()) > 1), default=0)
    if longest >= SAME_LINES:
        return f"the same line {longest} times running"
    words = text.split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    share = 1 - len(set(runs)) / len(runs) if runs else 0.0
    if len(runs) >= FEWEST_RUNS and share >= REPEATED_SHARE:
        return f"{share:.0%} of its runs of four words are there before"
    return ""


def disorder(answer: str, *, whole: bool) -> str:
    """The sections of an answer if they are not as they should be; an answer of another form than that of the contacts,
    with none of the later headings, is not judged. ``whole``: whether it ended by itself, so that all must be there.
    """
    named = "|".join(map(re.escape, HEADINGS))
    found = re.findall(rf"^({named}):", answer, flags=re.M)
    expected = list(HEADINGS if whole else HEADINGS[: len(found)])
    if found == expected or not set(found) & set(HEADINGS[1:]):
        return ""
    return ", ".join(found)


def invented(answer: str, document: str) -> Iterator[str]:
    """The contacts of an answer that its document does not have."""
    for label in CONTACT_LABELS.values():
        for value in re.findall(rf"^- {label}: *(\S.*?) *$", answer, flags=re.M):
            if value != ABSENT and not _stands_in(document, value, by_digits=label == CONTACT_LABELS["tel"]):
                yield f"{label} {value}"


def _stands_in(document: str, value: str, *, by_digits: bool) -> bool:
    """Whether a document has a value, but for what may be written otherwise: blanks, and all around a number's digits."""
    if by_digits and (digits := re.sub(r"\D", "", value)):
        return digits in re.sub(r"\D", "", document)
    return re.sub(r"\s", "", value) in re.sub(r"\s", "", document)


def _against_repetition(options: GenerationConfig) -> str:
    remedies = ["generation.repetition_penalty=1.2"] * (options.repetition_penalty < 1.2)
    remedies += ["generation.no_repeat_ngram=4"] * (not options.no_repeat_ngram)
    return " or ".join(remedies) or "generation=creative"


def _surer(options: GenerationConfig) -> str:
    if not options.temperature:
        return "It is the likeliest text already: train longer (trainer.max_steps), or on more text."
    surer = "generation=precise or generation=greedy" if options.temperature > 0.7 else "generation=greedy"
    return f"Try {surer}; if that is no better, train longer (trainer.max_steps)."
