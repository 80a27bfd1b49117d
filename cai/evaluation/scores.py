"""Scores over many answers: of every kind how many are right, and of how many that can be said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cai.data.answers import CONTACT_LABELS
from cai.evaluation.answers import NGRAM, THREE, Judgement

Verdicts = Iterable[bool | None]
Row = tuple[str, str, str]
"""Name, figure, and what it is a figure of."""


class Count(NamedTuple):
    """How many of how many. Of none, nothing can be said: no share is 0 % or 100 %."""

    right: int
    of: int

    @property
    def share(self) -> float | None:
        return self.right / self.of if self.of else None


NAMES: Final = {
    "tel": "telephone copied right",
    "addr": "address copied right",
    "web": "web address copied right",
    "email": "mail address copied right",
    "fields": "all of these copied right",
    "all_three": "TEL, ADDR and WEB all right",
    "invented": "answers with an invented contact",
    "refusals": "refused where it must",
    "false_refusals": "refused where it must not",
    "well_formed": "all sections, in order",
    "closed": "ended by itself",
    "answers": "holds the right answer",
}
"""For people, by attribute of ``Scores``."""

SHORT: Final = {
    "answers/tel": "telephone",
    "answers/all_three": "+".join(THREE),
    "answers/invented": "invented",
    "answers/refusals": "refusals",
}
"""What is said in one line, by key of ``figures``."""

REPETITION: Final = f"repetition ({NGRAM} words)"


@dataclass(frozen=True)
class Scores:
    """What the judgements of many answers come to."""

    tel: Count
    addr: Count
    web: Count
    email: Count
    fields: Count
    """All contact values that the documents have, and that were copied right."""
    all_three: Count
    invented: Count
    """Answers with at least one invented contact."""
    refusals: Count
    """Right ones, of the cases that must refuse."""
    false_refusals: Count
    """Of the cases that must not."""
    well_formed: Count
    closed: Count
    answers: Count
    """Answers that hold the right one, of the cases of a user's own."""
    repetition: float | None
    """Mean over all answers; ``None`` if there is none."""

    @classmethod
    def of(cls, judgements: Sequence[Judgement]) -> Scores:
        """The scores of all ``judgements`` together; there may be none."""
        by_label = {
            field: _count(each.right.get(label) for each in judgements)
            for field, label in zip(("tel", "addr", "web", "email"), CONTACT_LABELS.values(), strict=True)
        }
        return cls(
            **by_label,
            fields=Count(sum(each.right for each in by_label.values()), sum(each.of for each in by_label.values())),
            all_three=_count(each.all_three for each in judgements),
            invented=_count(bool(each.invented) for each in judgements),
            refusals=_count(each.refusal for each in judgements),
            false_refusals=_count(each.refused for each in judgements if each.refusal is None),
            well_formed=_count(each.well_formed for each in judgements),
            closed=_count(each.closed for each in judgements),
            answers=_count(each.holds_answer for each in judgements),
            repetition=sum(each.repetition for each in judgements) / len(judgements) if judgements else None,
        )

    def figures(self) -> dict[str, float]:
        """Shares for TensorBoard; those of no case are left out."""
        shares: dict[str, float | None] = {key: count.share for key, count in self.counts().items()}
        shares["answers/repetition"] = self.repetition
        found = shares.pop("answers/found")  # the last, after what every answer has
        return {key: share for key, share in (shares | {"answers/found": found}).items() if share is not None}

    def counts(self) -> dict[str, Count]:
        """Of every share how many of how many, by the keys of ``figures``; those of no case too."""
        return {f"answers/{'found' if name == 'answers' else name}": count for name, count in self._named()}

    def table(self) -> str:
        """Aligned lines for a person: name, share in % (``-`` of none), how many there are."""
        return "\n".join(aligned(self.rows()))

    def rows(self) -> list[Row]:
        """The lines of ``table``."""
        rows = [(NAMES[name], _percent(count.share), count.of) for name, count in self._named()]
        rows.append((REPETITION, _percent(self.repetition), self.closed.of))
        figures = max(len(f"{of:,}") for _, _, of in rows)
        return [(name, share, f"of {of:>{figures},}") for name, share, of in rows]

    def _named(self) -> Iterator[tuple[str, Count]]:
        return ((name, getattr(self, name)) for name in NAMES)


def aligned(rows: Sequence[Row]) -> list[str]:
    """A line for each, in columns."""
    width, figures = max(len(name) for name, _, _ in rows), max(7, *(len(figure) for _, figure, _ in rows))
    return [f"{name:<{width}}  {figure:>{figures}}  {of}" for name, figure, of in rows]


def in_short(figures: Mapping[str, float]) -> str:
    """The chief ones of ``Scores.figures``, among others, in a line; empty if there are none."""
    return ", ".join(f"{name} {_percent(figures[key])}" for key, name in SHORT.items() if key in figures)


def _count(verdicts: Verdicts) -> Count:
    """Those that are true, of those that are not ``None``."""
    said = [verdict for verdict in verdicts if verdict is not None]
    return Count(sum(said), len(said))


def _percent(share: float | None) -> str:
    """With a tenth, but never rounded to all or nothing."""
    if share is None:
        return "-"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{min(share, 0.999) if share < 1 else share:.1%}".replace("%", " %")
