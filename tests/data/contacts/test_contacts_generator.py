"""The embedded corpus: what its organisations, documents and answers promise."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import unicodedata

import phonenumbers
import pytest

from cai.data.answers import ABSENT, Answer, parse_answer, well_formed
from cai.data.contacts import tables
from cai.data.contacts.examples import ALL, Example, make_examples
from cai.data.contacts.organisations import Organisation, make_organisation
from cai.data.contacts.tables import TRAINING_TABLES, Tables
from cai.markup import document_parts, plain_text

SEED = 7
ORGANISATIONS = 2500
EXAMPLES_EACH = 2

AREA_CODES = {
    "서울특별시": "02",
    "부산광역시": "051",
    "대구광역시": "053",
    "인천광역시": "032",
    "광주광역시": "062",
    "대전광역시": "042",
    "울산광역시": "052",
    "세종특별자치시": "044",
    "경기도": "031",
    "강원특별자치도": "033",
    "충청북도": "043",
    "충청남도": "041",
    "전북특별자치도": "063",
    "전라남도": "061",
    "경상북도": "054",
    "경상남도": "055",
    "제주특별자치도": "064",
}
LANDLINE_TYPES = {
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,  # the North American plan does not tell them apart
    phonenumbers.PhoneNumberType.UAN,
}


@pytest.fixture(scope="module")
def world() -> Tables:
    return TRAINING_TABLES


@pytest.fixture(scope="module")
def organisations(world: Tables) -> list[Organisation]:
    return [make_organisation(index, SEED, world) for index in range(ORGANISATIONS)]


@pytest.fixture(scope="module")
def pairs(organisations: list[Organisation], world: Tables) -> list[tuple[Organisation, Example]]:
    return [(each, example) for each in organisations for example in make_examples(each, EXAMPLES_EACH, SEED, world)]


def parsed(example: Example) -> Answer:
    answer = parse_answer(example.answer)
    assert answer is not None, example.answer
    return answer


def is_national(tel: str) -> bool:
    return re.fullmatch(r"1\d{3}-\d{4}", tel) is not None


class TestOrganisations:
    def test_pure(self, organisations: list[Organisation], world: Tables) -> None:
        for index in (1999, 3, 250, 3):  # in another order than the fixture made them
            assert make_organisation(index, SEED, world) == organisations[index]

    def test_other_seed_is_another_world(self, organisations: list[Organisation], world: Tables) -> None:
        others = [make_organisation(index, SEED + 1, world) for index in range(200)]
        assert len({each.name for each in others} & {each.name for each in organisations[:200]}) < 20
        assert not {each.tel for each in others if each.country == "KR"} & {each.tel for each in organisations[:200]}

    def test_20000_distinct_names(self, world: Tables) -> None:
        assert len({make_organisation(index, SEED, world).name for index in range(20_000)}) == 20_000

    def test_names_stay_distinct_when_all_stems_are_used_up(self, world: Tables) -> None:
        stems = len(world.name_heads) * len(world.name_tails)
        last_round = [
            make_organisation((stems * rounds + rank) * len(world.kinds) + turn, SEED, world).name
            for rounds in range(3)
            for rank in range(20)
            for turn in range(len(world.kinds))
        ]
        assert len(set(last_round)) == len(last_round)

    def test_every_kind_and_place_occurs(self, organisations: list[Organisation], world: Tables) -> None:
        assert {each.kind for each in organisations} == {kind.slug for kind in world.kinds}
        assert {each.region for each in organisations if each.country == "KR"} == set(AREA_CODES)
        assert {each.country for each in organisations} == {"KR", *(city.country for city in world.cities)}

    def test_area_code_belongs_to_the_region(self, organisations: list[Organisation]) -> None:
        for each in organisations:
            if each.country != "KR":
                continue
            assert each.address.startswith(f"{each.region} ")
            numbers = [each.fax, each.second_tel] + [each.tel] * (not is_national(each.tel))
            assert {number.split("-")[0] for number in numbers} == {AREA_CODES[each.region]}, each

    def test_road_belongs_to_the_district(self, organisations: list[Organisation], world: Tables) -> None:
        roads = {
            f"{region.name} {district.name} {road}"
            for region in world.regions
            for district in region.districts
            for road in (*district.roads, *world.generic_roads)
        }
        for each in organisations:
            if each.country == "KR":
                assert re.sub(r" \d+$", "", each.address) in roads

    def test_numbers_are_valid_landlines(self, organisations: list[Organisation]) -> None:
        for each in organisations:
            for number in (each.tel, each.fax, each.second_tel):
                parsed_number = phonenumbers.parse(number, each.country)
                assert phonenumbers.is_valid_number(parsed_number), each
                assert phonenumbers.number_type(parsed_number) in LANDLINE_TYPES, each
                assert phonenumbers.region_code_for_number(parsed_number) == each.country, each
                assert number.startswith("+") == (each.country != "KR")

    def test_the_three_numbers_differ(self, organisations: list[Organisation]) -> None:
        assert all(len({each.tel, each.fax, each.second_tel}) == 3 for each in organisations)

    def test_only_some_kinds_have_national_numbers(self, organisations: list[Organisation], world: Tables) -> None:
        kinds = {each.kind for each in organisations if is_national(each.tel)}
        assert kinds == {kind.slug for kind in world.kinds if kind.national}

    def test_addresses_are_reserved_and_unique(self, organisations: list[Organisation]) -> None:
        hosts = set()
        for each in organisations:
            host = re.fullmatch(r"https://(?:www\.)?([a-z0-9.-]+\.example)(?:/ko)?", each.web)
            assert host is not None, each.web
            assert re.fullmatch(rf"[a-z]+@{re.escape(host[1])}", each.email), each.email
            hosts.add(host[1])
        assert len(hosts) == len(organisations)

    def test_negative_index(self, world: Tables) -> None:
        with pytest.raises(ValueError, match="must not be negative, but is -1"):
            make_organisation(-1, SEED, world)


class TestExamples:
    def test_pure(self, pairs: list[tuple[Organisation, Example]], world: Tables) -> None:
        organisation = pairs[600][0]
        assert make_examples(organisation, EXAMPLES_EACH, SEED, world) == [pairs[600][1], pairs[601][1]]
        assert make_examples(organisation, 5, SEED, world)[:2] == make_examples(organisation, 2, SEED, world)
        assert make_examples(organisation, 5, SEED + 1, world) != make_examples(organisation, 5, SEED, world)

    def test_same_in_another_process(self, pairs: list[tuple[Organisation, Example]]) -> None:
        """Nothing may depend on Python's own hashes, which differ between processes."""
        program = (
            "import hashlib\n"
            "from cai.data.contacts.examples import make_examples\n"
            "from cai.data.contacts.organisations import make_organisation\n"
            "from cai.data.contacts.tables import TRAINING_TABLES as world\n"
            f"organisations = [make_organisation(index, {SEED}, world) for index in range(100)]\n"
            f"examples = [e for o in organisations for e in make_examples(o, {EXAMPLES_EACH}, {SEED}, world)]\n"
            "print(hashlib.sha256(repr(examples).encode()).hexdigest())\n"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        examples = [example for _, example in pairs[: 100 * EXAMPLES_EACH]]
        assert result.stdout.strip() == hashlib.sha256(repr(examples).encode()).hexdigest()

    def test_examples_differ(self, pairs: list[tuple[Organisation, Example]]) -> None:
        assert len({(example.question, example.document) for _, example in pairs}) == len(pairs)

    def test_key_is_the_organisation(self, pairs: list[tuple[Organisation, Example]]) -> None:
        for organisation, example in pairs:
            assert example.organisation == organisation.name
            assert organisation.name in example.document
            assert parsed(example).name == organisation.name

    def test_no_contact_is_invented(self, pairs: list[tuple[Organisation, Example]]) -> None:
        """A contact line holds the organisation's own value if the document states it, and says so if not."""
        for organisation, example in pairs:
            contacts = parsed(example).contacts
            for field in ("tel", "address", "web", "email"):
                value = organisation.facts()[field]
                assert (contacts.get(field) == value) == states(example.document, value), (field, example)
                assert field in contacts or not states(example.document, value)

    def test_every_value_in_the_answer_is_in_the_document(self, pairs: list[tuple[Organisation, Example]]) -> None:
        value = re.compile(r"\+?\d[\d-]{6,}|https?://[a-z0-9./-]+|[a-z]+@[a-z0-9.-]+|\d+")
        for _, example in pairs:
            for found in value.findall(example.answer):
                assert found in example.document, (found, example)

    def test_summary_gives_what_was_asked(self, pairs: list[tuple[Organisation, Example]]) -> None:
        for organisation, example in pairs:
            answer = parsed(example)
            if example.asked == ALL:
                assert len(answer.contacts) >= 2
                assert all(value in answer.summary for value in answer.contacts.values())
            else:
                value = organisation.facts()[example.asked]
                assert example.answerable == (value in answer.summary) == states(example.document, value)

    def test_unanswerable_is_said_plainly(self, pairs: list[tuple[Organisation, Example]]) -> None:
        for _, example in pairs:
            summary = parsed(example).summary
            assert example.answerable != ("문서에" in summary and "없" in summary)
            repeated, said = summary[1:].rsplit('": ', 1)
            assert repeated
            assert example.question.startswith(repeated)
            assert example.answerable or re.search(r"\d{3}|@|://", said) is None

    def test_share_of_unanswerable(self, pairs: list[tuple[Organisation, Example]]) -> None:
        share = sum(not example.answerable for _, example in pairs) / len(pairs)
        assert 0.25 < share < 0.35

    def test_a_checklist_is_advice_about_what_was_asked(
        self, pairs: list[tuple[Organisation, Example]], world: Tables
    ) -> None:
        assert world.checklist.keys() == {"missing", *(example.asked for _, example in pairs)}
        for organisation, example in pairs:
            (item,) = parsed(example).checklist
            assert item in world.checklist[example.asked if example.answerable else "missing"]
            assert not any(value in item for value in (organisation.name, *organisation.facts().values()))

    def test_details_hold_for_every_document(self, pairs: list[tuple[Organisation, Example]], world: Tables) -> None:
        assert {parsed(example).details for _, example in pairs} == set(world.details)
        assert not any("{" in text for text in world.details)

    def test_a_document_may_lack_the_telephone_but_have_another_number(
        self, pairs: list[tuple[Organisation, Example]]
    ) -> None:
        hard = [
            example
            for organisation, example in pairs
            if example.asked == "tel" and not example.answerable and organisation.fax in example.document
        ]
        assert hard
        assert all("tel" not in parsed(example).contacts for example in hard)

    def test_question_wordings_vary(self, pairs: list[tuple[Organisation, Example]]) -> None:
        wordings: dict[str, set[str]] = {}
        for organisation, example in pairs:
            wordings.setdefault(example.asked, set()).add(example.question.replace(organisation.name, "X"))
        assert len(set().union(*wordings.values())) >= 150
        assert min(len(each) for each in wordings.values()) >= 5
        shared = [a & b for name, a in wordings.items() for other, b in wordings.items() if name < other]
        assert not any(shared), "one wording asks for two different things"

    def test_layouts_vary(self, pairs: list[tuple[Organisation, Example]]) -> None:
        """Told by the punctuation that is left when values and letters are taken away."""
        shapes = set()
        for organisation, example in pairs:
            bare = example.document
            for value in sorted(organisation.facts().values(), key=len, reverse=True):
                bare = bare.replace(value, "")
            shapes.add(frozenset(re.sub(r"[\w\s☎.-]", "", bare)) | {str("\n" in bare)})
        assert len(shapes) >= 10, shapes

    def test_fields_come_in_many_orders(self, pairs: list[tuple[Organisation, Example]]) -> None:
        orders = set()
        for organisation, example in pairs:
            facts = organisation.facts()
            stated = [field for field in ("tel", "address", "web", "email") if facts[field] in example.document]
            if len(stated) == 3:
                orders.add(tuple(sorted(stated, key=lambda field: example.document.index(facts[field]))))
        assert len(orders) == 4 * 6

    def test_text_is_clean(self, pairs: list[tuple[Organisation, Example]]) -> None:
        for _, example in pairs:
            text = plain_text(document_parts(example.question, example.document, example.answer))
            assert unicodedata.is_normalized("NFC", text)
            assert not re.search(r"[{}]|[ \t]\n|  ", text), text
            assert not re.search(r"(?<!\d)01[016-9]-\d|\d{6}-\d{7}", text), "looks like a mobile or resident number"

    def test_particles_fit(self, pairs: list[tuple[Organisation, Example]]) -> None:
        text = "\n".join(example.question + "\n" + example.answer for _, example in pairs)
        assert re.search(r"(?:병원|경찰서|전자)(?:은|는) ", text)
        assert not re.search(r"(?:병원|대학|도서관|분관)는 |(?:경찰서|보건소|전자|치과)은 |번호이 |메일가 ", text)


def states(document: str, value: str) -> bool:
    """Whether ``value`` stands in ``document``, and not only as the beginning of a longer one."""
    return re.search(rf"{re.escape(value)}(?!\d)", document) is not None


class TestAnswerFormat:
    ANSWER = Answer(
        summary="전화번호는 02-2345-6789입니다.",
        checklist=("민원실에 문의하기", "24시간 운영 확인하기"),
        name="가온솔병원",
        contacts={"tel": "02-2345-6789", "web": "https://gaonsol.example"},
        details="가온솔병원은 24시간 운영합니다.",
    )
    TEXT = """요약:
- 전화번호는 02-2345-6789입니다.

체크리스트:
- 민원실에 문의하기
- 24시간 운영 확인하기

연락처(공공정보):
- 기관: 가온솔병원
- TEL: 02-2345-6789
- ADDR: 문서에 없음
- WEB: https://gaonsol.example
- EMAIL: 문서에 없음

상세 설명:
가온솔병원은 24시간 운영합니다."""

    def test_rendered_to_the_letter(self) -> None:
        assert self.ANSWER.render() == self.TEXT

    def test_parse_inverts_render(self, pairs: list[tuple[Organisation, Example]]) -> None:
        assert parse_answer(self.TEXT) == self.ANSWER
        for _, example in pairs:
            assert parsed(example).render() == example.answer

    def test_every_truncation_is_rejected(self, pairs: list[tuple[Organisation, Example]]) -> None:
        for _, example in pairs[:40]:
            cut = [example.answer[:length] for length in range(len(example.answer))]
            assert not any(well_formed(text) for text in cut)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("요약:", "요약"),
            ("- TEL:", "- Tel:"),
            ("02-2345-6789\n- ADDR", "\n- ADDR"),
            ("- TEL: 02-2345-6789", "- TEL: 02-2345-6789 02-2345"),
            ("https://gaonsol.example", "gaonsol"),
            ("- EMAIL: 문서에 없음", "- EMAIL: 문서에 없음없음"),
            ("- EMAIL: 문서에 없음\n", ""),
            ("- 민원실에 문의하기\n- 24시간 운영 확인하기\n", ""),
            ("- 민원실에 문의하기\n", "- 민원실에 문의하기\n- 민원실 찾기\n"),
            ("\n\n상세 설명:", "\n상세 설명:"),
            ("운영합니다.", "운영합니다.\n"),
            ("체크리스트:", "체크리스트:\n체크리스트:"),
        ],
    )
    def test_garbled_answers_are_rejected(self, old: str, new: str) -> None:
        assert old in self.TEXT
        assert not well_formed(self.TEXT.replace(old, new, 1))

    def test_absent_is_no_value(self) -> None:
        answer = parse_answer(self.TEXT)
        assert answer is not None
        assert ABSENT not in answer.contacts.values()


class TestTables:
    def test_details_end_where_an_answer_ends(self, world: Tables) -> None:
        """Otherwise an answer that was cut could pass for a whole one."""
        for template in world.details:
            assert template.endswith("니다.")
            assert template.count("니다.") == 1
            assert not re.search(r"\{(?:web|email)\}", template)

    def test_what_is_missing_is_said_in_recognisable_words(self, world: Tables) -> None:
        for words in world.fields.values():
            assert bool(words.missing) == bool(words.questions) == bool(words.summaries) == bool(words.nouns)
            assert all("문서에" in template and "없" in template for template in words.missing)

    def test_name_stems_are_distinct_in_both_scripts(self, world: Tables) -> None:
        stems = [(a.hangul + b.hangul, a.latin + b.latin) for a in world.name_heads for b in world.name_tails]
        assert len({hangul for hangul, _ in stems}) == len({latin for _, latin in stems}) == len(stems)

    def test_notice_speaks_both_languages(self) -> None:
        assert "가상" in tables.NOTICE
        assert "fictional" in tables.NOTICE
