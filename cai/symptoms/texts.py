"""What can be seen to be wrong with a prompt or a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cai.data.answers import ABSENT, CONTACT_LABELS
from cai.symptoms.table import Told, tell
from cai.symptoms.training import HARDLY

if TYPE_CHECKING:
    from cai.decoding.row import End
    from cai.generation import GenerationConfig

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
WANDERS: Final = 0.8
"""Nats a token by which a text is less likely to its model than the validation text, when it wanders. Of 279 texts of 50
tokens or more that three models (validation loss 0.01, 1.4 and 6.0) wrote with generation=default, precise and creative no
one is told, the highest being 0.6 above; of those at temperature 1.5 among all tokens 64 %, at temperature 2 all."""
FEWEST_TOKENS: Final = 50
"""Of a shorter text the mean says little: with creative 3 of 32 would be told."""
BROKEN: Final = 3
"""So many replacement characters; one may stand at the end of a text that was cut off."""


@dataclass(frozen=True)
class Writing:
    """A text that was written, and what it is judged by."""

    text: str
    end: End
    options: GenerationConfig
    begun: str | None = None
    """What the prompt holds of the answer already; ``None`` if the text is no answer."""
    document: str | None = None
    drawn: float | None = None
    """Nats of its tokens to the model itself, on average; ``None``: not known, or it is too short."""
    usual: float | None = None
    """The same of the validation text."""


def symptoms_of_prompt(length: int, block_size: int, *, asks: bool, learned_to_answer: bool) -> list[Told]:
    """What will not stop the model but spoil its text. ``asks``: whether the prompt is built of a question."""
    found = []
    if length > block_size:
        found.append(tell("long_prompt", length=length, block_size=block_size, kept=max(1, block_size // 2)))
    if asks and not learned_to_answer:
        found.append(tell("no_questions"))
    return found


def symptoms_of_model(loss: float | None, floor: float | None) -> list[Told]:
    """Whether a model has learned nothing. ``loss``: of its validation text; ``floor``: that of a model without context."""
    if loss is None or floor is None or loss < HARDLY * floor:
        return []
    return [tell("untrained", loss=loss, floor=floor)]


def symptoms_of(writing: Writing) -> list[Told]:
    """What can be told from the text alone. A good answer has none."""
    found = []
    if fact := repetition(writing.text):
        found.append(tell("repeats", _against_repetition(writing.options), fact=fact))
    elif writing.begun is not None and writing.end == "length":  # a loop would not end later either
        limit = writing.options.max_new_tokens
        found.append(tell("unfinished", limit=limit, more=max(600, -(-3 * limit // 2))))
    if (count := writing.text.count("\ufffd")) >= BROKEN:
        found.append(tell("broken", _surer(writing.options), count=count))
    if writing.drawn is not None and writing.usual is not None and writing.drawn > writing.usual + WANDERS:
        found.append(tell("surprising", _surer(writing.options), drawn=writing.drawn, usual=writing.usual))
    if writing.begun is not None:
        found += _symptoms_of_answer(writing, writing.begun + writing.text)
    return found


def _symptoms_of_answer(writing: Writing, answer: str) -> Iterator[Told]:
    surer = _surer(writing.options)
    if found := disorder(answer, whole=writing.end == "tag"):
        yield tell("sections", surer, found=found)
    if writing.document is not None and (values := list(invented(answer, writing.document))):
        yield tell("invented", surer, values=", ".join(values))


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
    """The remedy that is not taken yet."""
    remedies = ["penalty"] * (options.repetition_penalty < 1.2) + ["no_ngram"] * (not options.no_repeat_ngram)
    return "_or_".join(remedies) or "bolder"


def _surer(options: GenerationConfig) -> str:
    """The remedy that goes further than the options do."""
    if not options.temperature:
        return "likeliest"
    return "surer" if options.temperature > 0.7 else "surest"
