"""Worlds of random syllables: all that is promised of the others, and nothing of the world that models are judged by."""

from __future__ import annotations

import re

import pytest

from cai.data.answers import CONTACT_LABELS, parse_answer
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import Organisation, make_organisation, seeded_random
from cai.data.contacts.syllables import FREQUENT, common_syllables
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from cai.data.contacts.wild import wild_tables

COUNT = 1500


def normalised(word: str) -> str:
    return re.sub(r"\s", "", word).casefold()


@pytest.fixture(scope="module")
def worlds() -> list[Tables]:
    return [wild_tables(seeded_random("wild", 5, number)) for number in range(COUNT)]


@pytest.fixture(scope="module")
def organisations(worlds: list[Tables]) -> list[Organisation]:
    return [make_organisation(0, number, world) for number, world in enumerate(worlds)]


@pytest.fixture(scope="module")
def examples(worlds: list[Tables], organisations: list[Organisation]) -> list[Example]:
    return [
        make_examples(organisation, 1, number, world)[0]
        for number, (organisation, world) in enumerate(zip(organisations, worlds, strict=True))
    ]


def test_a_world_is_decided_by_its_generator() -> None:
    one, same, other = (wild_tables(seeded_random("wild", 5, number)) for number in (3, 3, 4))
    assert one == same
    assert one != other


def test_every_answer_has_its_whole_form(examples: list[Example]) -> None:
    assert [example.answer for example in examples if parse_answer(example.answer) is None] == []


def test_every_value_of_an_answer_stands_in_its_document(examples: list[Example]) -> None:
    for example in examples:
        answer = parse_answer(example.answer)
        assert answer is not None
        assert [value for value in answer.contacts.values() if value not in example.document] == []
        assert answer.name in example.document


def test_every_pattern_is_filled(examples: list[Example], organisations: list[Organisation]) -> None:
    values = [value for organisation in organisations for value in (organisation.name, *organisation.facts().values())]
    texts = [text for example in examples for text in (example.question, example.answer)]
    unfilled = re.compile(r"\{[a-z_]+\}|##")
    assert [text for text in (*values, *texts) if unfilled.search(text)] == []


def test_names_are_of_all_common_syllables(organisations: list[Organisation]) -> None:
    assert len(common_syllables()) == 2350
    assert len(set(FREQUENT)) == 1000
    assert set(FREQUENT) < set(common_syllables())
    seen = {char for organisation in organisations for char in organisation.name + organisation.address}
    assert len(seen & set(FREQUENT)) > 950
    assert len(seen & set(common_syllables())) > 1100


def test_what_tells_apart_what_looks_alike_keeps_its_name(worlds: list[Tables]) -> None:
    """A fax number is told from the telephone by its label alone; the telephone is then the other one."""
    for field in ("fax", "second_tel"):
        stems = (*TRAINING_TABLES.fields[field].labels, *TRAINING_TABLES.fields[field].signs)
        for world in worlds:
            assert all(any(stem in label for stem in stems) for label in world.fields[field].labels)


def test_numbers_of_an_organisation_begin_alike_and_addresses_go_on_behind_theirs(organisations: list[Organisation]) -> None:
    """As real ones do: a number is not told by its beginning, and no address is known to end with its number."""
    for each in organisations:
        assert len({number.partition("-")[0] for number in (each.tel, each.fax, each.second_tel)}) == 1
    ends_in_digit = sum(each.address[-1].isdigit() for each in organisations)
    assert 0.3 * COUNT < ends_in_digit < 0.7 * COUNT


def test_answers_are_worded_as_in_every_training_world(worlds: list[Tables]) -> None:
    for world in worlds[:50]:
        for field, words in world.fields.items():
            assert words.summaries == TRAINING_TABLES.fields[field].summaries
            assert words.missing == TRAINING_TABLES.fields[field].missing
        assert (world.details, world.checklist) == (TRAINING_TABLES.details, TRAINING_TABLES.checklist)


def test_nothing_is_of_the_world_that_models_are_judged_by(worlds: list[Tables], organisations: list[Organisation]) -> None:
    unseen = EVALUATION_TABLES
    labels = {normalised(word) for words in unseen.fields.values() for word in (*words.labels, *words.signs)}
    found = {normalised(label) for world in worlds for words in world.fields.values() for label in words.labels}
    assert not labels & found
    nouns = {normalised(noun) for words in unseen.fields.values() for noun in words.nouns}
    assert not nouns & {normalised(noun) for world in worlds for words in world.fields.values() for noun in words.nouns}
    sentences = {sentence for words in unseen.fields.values() for sentence in words.sentences}
    assert not sentences & {text for world in worlds for words in world.fields.values() for text in words.sentences}
    items = {(layout.item, layout.joint) for layout in unseen.layouts if "{sentence}" not in layout.item}
    assert not items & {(layout.item, layout.joint) for world in worlds for layout in world.layouts}
    assert not {layout.opening for layout in unseen.layouts} & {each.opening for world in worlds for each in world.layouts}
    judged = [make_organisation(number, 2**61 - 1, unseen) for number in range(500)]
    values = {value for each in judged for value in (each.name, each.address, each.web, each.email, each.tel)}
    assert not values & {v for each in organisations for v in (each.name, each.address, each.web, each.email, each.tel)}
    roads = {road for region in unseen.regions for district in region.districts for road in district.roads}
    assert not {word for each in organisations for word in each.address.split()} & {*roads, *unseen.generic_roads}


def test_all_fields_are_there(worlds: list[Tables]) -> None:
    assert all(list(world.fields) == list(TRAINING_TABLES.fields) for world in worlds)
    assert set(CONTACT_LABELS) <= set(TRAINING_TABLES.fields)
