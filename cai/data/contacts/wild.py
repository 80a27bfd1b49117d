"""Worlds of random syllables, letters and signs, one for each organisation: nothing in them can be learned by heart.

A model that has only ever copied names out of fifty syllables copies no other. Here a name may have any common syllable, a
number any grouping, a label any spelling, so that what is learned is to copy.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from cai.data.contacts.asking import all_questions, general_questions, with_noise
from cai.data.contacts.fields import FIELDS
from cai.data.contacts.kinds import Kind, NamePart
from cai.data.contacts.noise import latin, some_digits, word
from cai.data.contacts.places import City
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.data.contacts.wild_forms import layout, words_of
from cai.data.contacts.wild_values import address, ending, hours, name, number, office, phrase, web, work

DISTRACTOR_SHARE: Final = 0.2
"""How often a document has another number, of each kind, beside the telephone's."""
CONTEXT_WEIGHTS: Final = (75, 20, 5)
"""Fewer fields that are never copied than the others have: what is short is seen more often in the same time."""


def wild_tables(rng: random.Random) -> Tables:
    """A world for one organisation. What answers say is worded as in every training world."""
    stem = NamePart(phrase(rng), latin(rng))
    city = City(word(rng, 1, 2), "", word(rng, 1, 2), number(rng), *address(rng))
    kind = Kind(name(rng), latin(rng), "abroad", (hours(rng),), (office(rng),), (work(rng),))
    return replace(
        TRAINING_TABLES,
        cities=(city,),
        kinds=(kind,),
        name_heads=(stem,),
        name_tails=(NamePart("", ""),),
        web_patterns=(web(rng),),
        domain_patterns=(
            rng.choice(("{stem}.", "{kind}.{stem}.", "{stem}-{kind}.", "{stem}{kind}.")) + ending(rng, stem.latin),
        ),
        mailboxes=(latin(rng) + some_digits(rng, 0.3),),
        layouts=(layout(rng),),
        fields={field: words_of(rng, field, words) for field, words in FIELDS.items()},
        general_questions=general_questions(rng),
        all_questions=tuple(with_noise(rng, question) for question in all_questions(rng)),
        distractor_share=DISTRACTOR_SHARE,
        context_weights=CONTEXT_WEIGHTS,
    )
