"""Examples: a question, a document about one organisation, and the answer that follows from the document alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cai.data.answers import CONTACT_LABELS, Answer
from cai.data.contacts.organisations import Organisation, seeded_random
from cai.data.contacts.tables import Tables

UNANSWERABLE_SHARE: Final = 0.3

ALL: Final = "all"
"""What a question asks for that wants every contact of the document."""

MISSING: Final = "missing"
"""What a checklist is about if the document lacks what was asked for."""

ASKED_WEIGHTS: Final[Mapping[str, int]] = {
    "tel": 28,
    "address": 20,
    "web": 15,
    "email": 15,
    "hours": 12,
    "fax": 4,
    ALL: 6,
}
"""How often each field is asked for, relative to the others."""

GENERAL_QUESTION_SHARE: Final = 0.6
"""How often a question has a general wording, with one of the field's nouns, instead of one of the field's own."""

CONTACT_SHARE: Final = 0.75
"""How often a contact field that is not asked for stands in the document all the same."""

CONTEXT_FIELDS: Final = ("hours", "department", "service")
"""What else documents state; every one has at least one of them."""

READ_WITH_CONSONANT: Final = frozenset("013678lmnr")
"""Digits and Latin letters whose Korean reading ends in a consonant."""

SHUFFLED_SHARE: Final = 0.5
"""How often the fields of a document are not in their usual order."""


@dataclass(frozen=True)
class Example:
    """One example. ``organisation`` is the key of the split; ``asked`` the field in question, or ``"all"``."""

    organisation: str
    question: str
    document: str
    answer: str
    answerable: bool
    asked: str


def make_examples(organisation: Organisation, count: int, seed: int, tables: Tables) -> list[Example]:
    """``count`` examples about one organisation. Example ``i`` does not depend on ``count``."""
    return [
        _make_example(seeded_random("example", seed, organisation.name, number), organisation, tables)
        for number in range(count)
    ]


def _make_example(rng: random.Random, organisation: Organisation, tables: Tables) -> Example:
    answerable = rng.random() >= UNANSWERABLE_SHARE
    asked = _asked(rng, answerable)
    stated = _stated_fields(rng, asked, tables, answerable=answerable)
    facts = {field: value for field, value in organisation.facts().items() if field in stated}
    return render_example(rng, organisation.name, asked, facts, tables, answerable=answerable)


def render_example(
    rng: random.Random, name: str, asked: str, facts: Mapping[str, str], tables: Tables, *, answerable: bool
) -> Example:
    """Question, document and answer about ``facts``, what the document states."""
    question, repeated = _question(rng, asked, name, tables)
    return Example(
        organisation=name,
        question=question,
        document=_document(rng, name, facts, tables),
        answer=_answer(rng, repeated, asked, name, facts, tables).render(),
        answerable=answerable,
        asked=asked,
    )


def _asked(rng: random.Random, answerable: bool) -> str:
    """The field to ask for. A question for all contacts can always be answered."""
    fields = [field for field in ASKED_WEIGHTS if answerable or field != ALL]
    return rng.choices(fields, [ASKED_WEIGHTS[field] for field in fields])[0]


def _stated_fields(rng: random.Random, asked: str, tables: Tables, *, answerable: bool) -> set[str]:
    """The fields that the document states: the asked one exactly if the question is answerable."""
    contacts = [field for field in CONTACT_LABELS if field != asked and rng.random() < CONTACT_SHARE]
    if asked == ALL and len(contacts) < 2:
        contacts = rng.sample(list(CONTACT_LABELS), 2)
    context = [field for field in CONTEXT_FIELDS if field != asked]
    context_count = rng.choices(range(1, len(CONTEXT_FIELDS) + 1), tables.context_weights)[0]
    fields = {*contacts, *rng.sample(context, min(context_count, len(context)))}
    if answerable and asked != ALL:
        fields.add(asked)
    if asked != "fax" and rng.random() < tables.distractor_share:
        fields.add("fax")
    if "tel" in fields and rng.random() < tables.distractor_share:
        fields.add("second_tel")
    return fields


def _question(rng: random.Random, asked: str, name: str, tables: Tables) -> tuple[str, str]:
    """A question, and how it begins: as far as the noun that says what is asked for, if it has one, else all of it."""
    if asked == ALL:
        question = rng.choice(tables.all_questions).format(name=name)
        return question, question
    words = tables.fields[asked]
    noun = rng.choice(words.nouns)
    template = rng.choice(tables.general_questions if rng.random() < GENERAL_QUESTION_SHARE else words.questions)
    fill = {"name": name, "noun": noun, "topic": _particle(name, "은", "는"), "subject": _particle(noun, "이", "가")}
    before, found, _ = template.partition("{noun}")
    return template.format(**fill), (before + found).format(**fill)


def _document(rng: random.Random, name: str, facts: Mapping[str, str], tables: Tables) -> str:
    layout = rng.choice(tables.layouts)
    order = [field for field in tables.fields if field in facts]
    if rng.random() < SHUFFLED_SHARE:
        rng.shuffle(order)
    pieces = [layout.opening.format(name=name)]
    for field in order:
        words, value = tables.fields[field], facts[field]
        label, sign, sentence = rng.choice(words.labels), rng.choice(words.signs), rng.choice(words.sentences)
        pieces.append(layout.item.format(label=label, sign=sign, value=value, sentence=sentence.format(value=value)))
    return layout.joint.join(pieces)


def _answer(rng: random.Random, repeated: str, asked: str, name: str, facts: Mapping[str, str], tables: Tables) -> Answer:
    """The answer, from nothing but the facts that the document states.

    The summary says the question again first, as far as what it asks for. That then stands right before what answers it, not
    a document away: a small model that has learned to copy reads the question by copying it.
    """
    contacts = {field: facts[field] for field in CONTACT_LABELS if field in facts}
    if asked == ALL:
        summary = rng.choice(tables.all_summaries).format(name=name, value=", ".join(contacts.values()))
    elif asked in facts:
        summary = rng.choice(tables.fields[asked].summaries).format(name=name, value=facts[asked])
    else:
        summary = rng.choice(tables.fields[asked].missing).format(name=name)
    return Answer(
        summary=f'"{repeated}": {summary}',
        checklist=(rng.choice(tables.checklist[asked if asked in (ALL, *facts) else MISSING]),),
        name=name,
        contacts=contacts,
        details=rng.choice(tables.details),
    )


def _particle(word: str, after_consonant: str, after_vowel: str) -> str:
    """The Korean particle that fits the last sound of ``word``, as it is read aloud in Korean."""
    last = next((letter for letter in reversed(word.lower()) if letter.isalnum()), "")
    final_consonant = (ord(last) - ord("가")) % 28 if "가" <= last <= "힣" else last in READ_WITH_CONSONANT
    return after_consonant if final_consonant else after_vowel
