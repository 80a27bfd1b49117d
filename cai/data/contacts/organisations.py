"""Fictional organisations: each one a pure function of its index, a seed and the tables."""

from __future__ import annotations

import functools
import hashlib
import random
from dataclasses import dataclass
from typing import Final

from cai.data.contacts.kinds import Kind, NamePart
from cai.data.contacts.places import City
from cai.data.contacts.tables import Tables

NATIONAL_SHARE: Final = 0.25
"""How many organisations of a kind that may have a number without area code do have one."""

GENERIC_ROAD_SHARE: Final = 0.3


@dataclass(frozen=True)
class Organisation:
    """A fictional organisation. ``country`` is an ISO 3166 code; ``region`` a Korean region, or a city abroad."""

    name: str
    kind: str
    country: str
    region: str
    tel: str
    address: str
    web: str
    email: str
    hours: str
    department: str
    service: str
    fax: str
    second_tel: str

    def facts(self) -> dict[str, str]:
        """The values that a document may state, by field."""
        return {
            "tel": self.tel,
            "address": self.address,
            "web": self.web,
            "email": self.email,
            "hours": self.hours,
            "department": self.department,
            "service": self.service,
            "fax": self.fax,
            "second_tel": self.second_tel,
        }


@dataclass(frozen=True)
class _Location:
    """Where an organisation is: ``names`` fill the pattern of its name, ``number`` is the pattern of its telephones."""

    country: str
    region: str
    address: str
    number: str
    names: dict[str, str]


def seeded_random(*key: str | int) -> random.Random:
    """A generator decided by ``key`` alone, the same in every process."""
    text = "\x1f".join(str(part) for part in key)
    return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())


def make_organisation(index: int, seed: int, tables: Tables) -> Organisation:
    """The organisation number ``index`` (from 0) of the world ``seed``. No two indexes share a name.

    The kinds take turns, and each kind walks through all name stems in a shuffled order of its own; when it has used
    them all, it starts again with numbered names.
    """
    if index < 0:
        raise ValueError(f"index must not be negative, but is {index}")
    rank, turn = divmod(index, len(tables.kinds))
    kind = tables.kinds[turn]
    stem = _stem(rank, seed, kind.slug, tables)
    rng = seeded_random("organisation", seed, index)
    location = _location(rng, kind, tables)
    tel, fax, second_tel = _numbers(rng, location.number)
    if kind.national and rng.random() < NATIONAL_SHARE:
        tel = _number(rng, rng.choice(tables.national_prefixes) + "-####")
    domain = rng.choice(tables.domain_patterns).format(stem=stem.latin, kind=kind.slug)
    return Organisation(
        name=kind.name.format(stem=stem.hangul, **location.names),
        kind=kind.slug,
        country=location.country,
        region=location.region,
        tel=tel,
        address=location.address,
        web=rng.choice(tables.web_patterns).format(domain=domain),
        email=f"{rng.choice(tables.mailboxes)}@{domain}",
        hours=rng.choice(kind.hours),
        department=rng.choice(kind.departments),
        service=rng.choice(kind.services),
        fax=fax,
        second_tel=second_tel,
    )


def _stem(rank: int, seed: int, kind: str, tables: Tables) -> NamePart:
    """The ``rank``-th name stem of a kind: a head and a tail, numbered from the second round on."""
    tails = len(tables.name_tails)
    order = _shuffled(len(tables.name_heads) * tails, seed, kind)
    earlier_rounds, position = divmod(rank, len(order))
    head, tail = divmod(order[position], tails)
    first, last = tables.name_heads[head], tables.name_tails[tail]
    number = str(earlier_rounds + 1) if earlier_rounds else ""
    return NamePart(f"{first.hangul}{last.hangul}{number}", f"{first.latin}{last.latin}{number}")


@functools.lru_cache(maxsize=256)
def _shuffled(size: int, seed: int, kind: str) -> tuple[int, ...]:
    """``range(size)`` in an order of its own for each seed and kind."""
    return tuple(seeded_random("names", seed, kind).sample(range(size), size))


def _location(rng: random.Random, kind: Kind, tables: Tables) -> _Location:
    """A place where ``kind`` may be. Region, district, road and number pattern belong together."""
    city = rng.choice(tables.cities)
    if kind.place == "abroad":
        return _abroad(rng, city)
    region = tables.capital if kind.place == "capital" else rng.choice(tables.regions)
    district = rng.choice(region.districts)
    generic = rng.random() < GENERIC_ROAD_SHARE
    road = rng.choice(tables.generic_roads if generic else district.roads)
    return _Location(
        country="KR",
        region=region.name,
        address=f"{region.name} {district.name} {road} {rng.randint(1, 199)}",
        number=region.number,
        names={"hall": region.hall, "district": district.name, "country": city.country_name},
    )


def _abroad(rng: random.Random, city: City) -> _Location:
    street, number = rng.choice(city.streets), rng.randint(1, 199)
    return _Location(
        country=city.country,
        region=city.name,
        address=city.address.format(street=street, number=number, city=city.name),
        number=city.number,
        names={"country": city.country_name, "city": city.name},
    )


def _numbers(rng: random.Random, pattern: str) -> list[str]:
    """Three different telephone numbers of one pattern."""
    numbers: list[str] = []
    while len(numbers) < 3:
        number = _number(rng, pattern)
        if number not in numbers:
            numbers.append(number)
    return numbers


def _number(rng: random.Random, pattern: str) -> str:
    """A telephone number: ``#`` becomes any digit, ``N`` a digit from 2 to 8."""
    choices = {"#": "0123456789", "N": "2345678"}
    return "".join(rng.choice(choices[sign]) if sign in choices else sign for sign in pattern)
