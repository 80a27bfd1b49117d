"""What the documents of wild worlds state, at random: as hard to copy as it is in the world, and in the same ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from cai.data.contacts.noise import DIGITS, latin, some_digits, word
from cai.data.contacts.tables import TRAINING_TABLES

ENDINGS: Final = ("kr", "co.kr", "or.kr", "go.kr", "com", "org", "net", "info", "ac.kr", "io", "de", "co.jp")
NAME_ENDS: Final = (
    "센터",
    "병원",
    "청",
    "사무소",
    "학교",
    "회",
    "관",
    "원",
    "소",
    "재단",
    "연합회",
    "본부",
    "지사",
    "마을",
    "",
)
PLACE_ENDS: Final = (
    ("시", "도", "특별시", "광역시", "특별자치도", "특별자치시"),
    ("구", "군", "시", "읍"),
    ("로", "길", "대로", "번길", "동"),
)
HOUSES: Final = (
    "빌딩",
    "센터",
    "회관",
    "관",
    "타워",
    "상가",
    "아파트",
    "주민센터",
    "교회",
    "청사",
    "플라자",
    "별관",
    "단지",
    "",
)
OFFICES: Final = ("과", "실", "팀", "부", "센터", "처", "국", "창구")
WORKS: Final = ("상담", "접수", "안내", "발급", "신고", "교육", "관리", "지원", "판매", "예약")


def ending(rng: random.Random, stem: str) -> str:
    """What a web address ends in: one to three parts, so that none is known to be the last; now and then a piece of the
    name, so that what stood before it does not tell where it goes on.
    """
    known = rng.choice(ENDINGS)
    piece = stem[-rng.randint(2, 4) :]
    more = (
        f"{known}.{latin(rng)}",
        latin(rng),
        f"{latin(rng)}.{latin(rng)}",
        f"{latin(rng)}.{known}",
        piece,
        f"{piece}.{known}",
    )
    return known if rng.random() < 0.5 else rng.choice(more)


def phrase(rng: random.Random) -> str:
    """One to three words, mostly Hangul."""
    one = word(rng, 1, 3) if rng.random() < 0.85 else latin(rng).title() + some_digits(rng, 0.3)
    words = [word(rng, 1, 3) for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2)))]
    return " ".join([*words, one if rng.random() < 0.9 else f"{(words or [word(rng, 1, 2)])[-1]}{one}"])


def name(rng: random.Random) -> str:
    before = rng.choice(("", "", "", "", "", "주{country} ", "{city} ", "{city}", "(주)", "(사)", _region(rng)))
    after = rng.choice(("", "", "", "", "", "", " {city}점", " 제1분원", f" {word(rng, 2, 2)}지소", f"({word(rng, 1, 3)})"))
    return before + "{stem}" + rng.choice(NAME_ENDS) + after


def address(rng: random.Random) -> tuple[str, tuple[str]]:
    """A pattern with ``{street}``, ``{number}`` and ``{city}``, Korean order or not, and a street for it."""
    if rng.random() < 0.25:
        street = " ".join(latin(rng).title() for _ in range(rng.randint(1, 3))) if rng.random() < 0.7 else word(rng, 1, 3)
        pattern = rng.choice(
            ("{street} {number}, {city}", "{number} {street}, {city}", "{number}-1 {street}, {city} 10{number}")
        )
        return pattern, (street,)
    ends = [rng.choice(each) for each in PLACE_ENDS]
    district = word(rng, 1, 2)
    # Many a road has its name from the town it runs through: what follows a word is then not always the same.
    road = rng.choice(("{street}", "{street}", f"{district}{rng.choice(('', '', word(rng, 1, 2)))}"))
    region = _region(rng) if rng.random() < 0.5 else "{city}" + ends[0]
    pieces = [region, district + ends[1], road + ends[2]]
    return " ".join([*pieces[rng.random() < 0.25 :], _building(rng)]), (word(rng, 1, 3),)


def _building(rng: random.Random) -> str:
    """From the number on, as Korean addresses go on: a side street, then rarely nothing, and often a house, a floor, a room,
    a quarter in brackets, in any order: no address is known to end with its number."""
    digits = some_digits(rng, 1.0)
    side = rng.choice(("", "", "", "", f"{digits}번길 ", f"{digits}길 ", f"{digits}{rng.choice('가나다')}길 "))
    number = side + rng.choice(("{number}", "{number}", "{number}", f"{{number}}-{rng.choice(DIGITS[1:])}"))
    more = (rng.choice(MORE)(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))))
    return number + "".join(
        rng.choice((" ", " ", ", ", "")) + each if each[0] == "(" else rng.choice((" ", " ", ", ")) + each for each in more
    )


def _house(rng: random.Random) -> str:
    return f"{word(rng, 1, 4)}{rng.choice(HOUSES)}"


MORE: Final[tuple[Callable[[random.Random], str], ...]] = (
    _house,
    _house,
    lambda rng: f"({word(rng, 1, 3)}동)",
    lambda rng: f"({word(rng, 1, 3)}동, {_house(rng)})",
    lambda rng: f"({_house(rng)})",
    lambda rng: f"{rng.choice(('', '', '', '지하', '지상 '))}{rng.choice(DIGITS[1:])}층",
    lambda rng: f"{some_digits(rng, 1.0)}호",
    lambda rng: f"{rng.choice(('A', 'B', 'C', *DIGITS[1:]))}동",
    lambda rng: f"{word(rng, 1, 3)} {_house(rng)}",
)
"""What an address goes on with behind its number."""


def number(rng: random.Random) -> str:
    """A pattern of telephone numbers: groups of digits. Those of an organisation share their area, and now and then what
    comes next, as real ones do: to copy a number is to know which one is meant, not how it begins.
    """
    start = _digits_for(rng, rng.choice(("02", "0##", "0##", "0##", "1###", "+##", "+##-#", "+1-###", "070", "+###-##")))
    sizes = [rng.choice((3, 4)), 4] if rng.random() < 0.75 else [rng.randint(2, 3) for _ in range(rng.randint(1, 3))]
    groups = ["#" * size for size in sizes[: 1 if start[0] == "1" else None]]
    if len(groups) > 1 and rng.random() < 0.3:
        groups[0] = _digits_for(rng, groups[0])
    return "-".join([start, *groups])


def _digits_for(rng: random.Random, pattern: str) -> str:
    return "".join(rng.choice(DIGITS) if sign == "#" else sign for sign in pattern)


def hours(rng: random.Random) -> str:
    days = rng.choice(("평일", "매일", "월~금", "화~토", "주중", "연중", "월~토", "Mon-Fri"))
    opens, closes = rng.randint(6, 11), rng.randint(15, 23)
    form = rng.choice(
        ("{a}~{b}시", "{a}시~{b}시", "{a:02}:00~{b}:30", "오전 {a}시부터 오후 {c}시까지", "{a}:30-{b}:00", "{a}-{b}시")
    )
    return f"{days} {form.format(a=opens, b=closes, c=closes - 12)}"


def office(rng: random.Random) -> str:
    return word(rng, 1, 2) + rng.choice(OFFICES)


def work(rng: random.Random) -> str:
    return f"{word(rng, 1, 2)} {rng.choice(WORKS)}"


def _region(rng: random.Random) -> str:
    """The same in every world, as Korea has no others: addresses begin with one, names now and then."""
    return rng.choice(TRAINING_TABLES.regions).name


def web(rng: random.Random) -> str:
    start = rng.choice(("https://www.", "https://", "http://www.", "http://", f"https://{latin(rng)[:3]}."))
    if rng.random() < 0.4:
        return start + "{domain}"
    last = rng.choice(("", "", "", "/", ".do", ".html", ".php", f"?{latin(rng)}", f"?{latin(rng)}={some_digits(rng, 1.0)}"))
    return f"{start}{{domain}}/{_path(rng)}{last}"


def _path(rng: random.Random) -> str:
    """One to three pieces. Many a piece comes twice: to go on behind it is to know which of the two was copied."""
    pieces = [latin(rng) + some_digits(rng, 0.2)]
    while rng.random() < 0.45 and len(pieces) < 3:
        more = latin(rng) + some_digits(rng, 0.2)
        pieces.append(rng.choice((more, more, pieces[-1], pieces[-1] + more)))
    return "".join(piece + rng.choice("///_-") for piece in pieces)[:-1]
