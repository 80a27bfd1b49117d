"""The second world: it shares nothing with the training data, and promises what the training data promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pytest

from cai.data.answers import well_formed
from cai.data.contacts.examples import Example, make_examples
from cai.data.contacts.organisations import Organisation, make_organisation
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.data.contacts.unseen.tables import EVALUATION_TABLES
from tests.data.contacts import test_contacts_generator as training

SEED = training.SEED
TRAINING_SEED = 1337
"""The one of ``conf/data/contacts.yaml``. Another than ours: see ``EVALUATION_TABLES``."""

VOCABULARY: dict[str, Callable[[Tables], Iterable[str]]] = {
    "heads and tails": lambda world: [part.hangul for part in (*world.name_heads, *world.name_tails)],
    "heads and tails, Latin": lambda world: [part.latin for part in (*world.name_heads, *world.name_tails)],
    "stems": lambda world: [a.hangul + b.hangul for a in world.name_heads for b in world.name_tails],
    "stems, Latin": lambda world: [a.latin + b.latin for a in world.name_heads for b in world.name_tails],
    "kinds": lambda world: [kind.name for kind in world.kinds],
    "suffixes": lambda world: [kind.name.rpartition("}")[2] for kind in world.kinds],
    "slugs": lambda world: [kind.slug for kind in world.kinds],
    "hours": lambda world: [value for kind in world.kinds for value in kind.hours],
    "departments": lambda world: [value for kind in world.kinds for value in kind.departments],
    "services": lambda world: [value for kind in world.kinds for value in kind.services],
    "districts": lambda world: [district.name for region in world.regions for district in region.districts],
    "roads": lambda world: [
        *world.generic_roads,
        *(road for region in world.regions for district in region.districts for road in district.roads),
    ],
    "cities": lambda world: [city.name for city in world.cities],
    "numbers abroad": lambda world: [city.number for city in world.cities],
    "streets abroad": lambda world: [street for city in world.cities for street in city.streets],
    "national prefixes": lambda world: world.national_prefixes,
    "web patterns": lambda world: world.web_patterns,
    "domain patterns": lambda world: world.domain_patterns,
    "top-level domains": lambda world: [pattern.rpartition(".")[2] for pattern in world.domain_patterns],
    "mailboxes": lambda world: world.mailboxes,
    "openings": lambda world: [layout.opening for layout in world.layouts],
    "items": lambda world: [layout.item for layout in world.layouts if layout.item != "{sentence}"],
    "labels and signs": lambda world: [word for each in world.fields.values() for word in (*each.labels, *each.signs)],
    "nouns": lambda world: [noun for each in world.fields.values() for noun in each.nouns],
    "questions": lambda world: [
        *world.general_questions,
        *world.all_questions,
        *(question for each in world.fields.values() for question in each.questions),
    ],
    "statements": lambda world: [
        *world.all_summaries,
        *world.details,
        *(text for each in world.fields.values() for text in (*each.sentences, *each.summaries, *each.missing)),
    ],
    "checklist": lambda world: [text for texts in world.checklist.values() for text in texts],
}
"""Everything a world draws from, each pooled over all fields and places."""


def values(organisation: Organisation) -> set[str]:
    """What tells an organisation from all others."""
    facts = organisation.facts()
    return {organisation.name, *(facts[field] for field in ("tel", "fax", "second_tel", "address", "web", "email"))}


def normalised(words: Iterable[str]) -> set[str]:
    return {re.sub(r"\s", "", word).casefold() for word in words}


@pytest.fixture(scope="module")
def world() -> Tables:
    return EVALUATION_TABLES


@pytest.fixture(scope="module")
def organisations(world: Tables) -> list[Organisation]:
    return [make_organisation(index, SEED, world) for index in range(training.ORGANISATIONS)]


@pytest.fixture(scope="module")
def pairs(organisations: list[Organisation], world: Tables) -> list[tuple[Organisation, Example]]:
    return [
        (each, example) for each in organisations for example in make_examples(each, training.EXAMPLES_EACH, SEED, world)
    ]


class TestUnseen:
    @pytest.mark.parametrize("words", VOCABULARY.values(), ids=VOCABULARY)
    def test_vocabulary_is_disjoint_from_training(self, words: Callable[[Tables], Iterable[str]], world: Tables) -> None:
        ours, theirs = normalised(words(world)), normalised(words(TRAINING_TABLES))
        assert ours
        assert not ours & theirs

    def test_no_value_occurs_in_training(self, organisations: list[Organisation]) -> None:
        """Telephone numbers could meet by chance within an area code, but none does with these seeds."""
        known = {
            value for index in range(4000) for value in values(make_organisation(index, TRAINING_SEED, TRAINING_TABLES))
        }
        assert not known & {value for each in organisations[:500] for value in values(each)}

    def test_the_fields_are_those_of_training(self, world: Tables) -> None:
        assert list(world.fields) == list(TRAINING_TABLES.fields)
        for field, words in world.fields.items():
            assert bool(words.nouns) == bool(TRAINING_TABLES.fields[field].nouns)
            assert words.labels
            assert words.signs
            assert words.sentences

    def test_a_label_belongs_to_one_field(self, world: Tables) -> None:
        labels = [normalised((*words.labels, *words.signs)) for words in world.fields.values()]
        assert sum(map(len, labels)) == len(set().union(*labels))

    def test_a_district_lies_in_one_region(self, world: Tables) -> None:
        districts = [district.name for region in world.regions for district in region.districts]
        assert len(set(districts)) == len(districts)

    def test_no_kind_ends_like_another(self, world: Tables) -> None:
        suffixes = [kind.name.rpartition("}")[2] for kind in world.kinds]
        assert not [(a, b) for a in suffixes for b in suffixes if a is not b and a.endswith(b)]

    def test_kinds_are_everywhere(self, world: Tables) -> None:
        assert {kind.place for kind in world.kinds} == {"region", "capital", "abroad"}
        assert sum(kind.national for kind in world.kinds) == 3


class TestOrganisations(training.TestOrganisations):
    def test_every_kind_and_place_occurs(self, organisations: list[Organisation], world: Tables) -> None:
        assert {each.kind for each in organisations} == {kind.slug for kind in world.kinds}
        regions = {each.region for each in organisations if each.country == "KR"}
        assert (
            regions
            == {region.name for region in world.regions}
            == set(training.AREA_CODES) - {"광주광역시", "제주특별자치도"}
        )
        assert {each.country for each in organisations} == {"KR", *(city.country for city in world.cities)}

    def test_addresses_are_reserved_and_unique(self, organisations: list[Organisation]) -> None:
        hosts = set()
        for each in organisations:
            host = re.fullmatch(r"https?://(?:m\.)?([a-z0-9.-]+\.(?:test|invalid|example\.org))(?:/main)?", each.web)
            assert host is not None, each.web
            assert re.fullmatch(rf"[a-z]+@{re.escape(host[1])}", each.email), each.email
            hosts.add(host[1])
        assert len(hosts) == len(organisations)


class TestExamples(training.TestExamples):
    test_same_in_another_process = None  # is about the generator, whatever the tables

    def test_answers_are_well_formed(self, pairs: list[tuple[Organisation, Example]]) -> None:
        assert all(well_formed(example.answer) for _, example in pairs)

    def test_particles_fit(self, pairs: list[tuple[Organisation, Example]]) -> None:
        text = "\n".join(example.question + "\n" + example.answer for _, example in pairs)
        assert re.search(r"(?:은행|연구원|등기소|물류)(?:은|는) ", text)
        assert not re.search(
            r"(?:은행|미술관|연구원|호텔)는 |(?:등기소|고등학교|물류)은 |번호이 |메일가 |주소이 |길가 ", text
        )


class TestTables(training.TestTables):
    pass
