"""Questions of wild worlds: more nouns and forms than anyone would write down, among words that say nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from cai.data.contacts.noise import word
from cai.data.contacts.tables import TRAINING_TABLES

ASKING: Final = (
    "?",
    "은요?",
    " 줘",
    " 주세요",
    " 좀",
    " 알려 줄래요?",
    " 가르쳐 주세요.",
    " 보여 주세요",
    " 뭐지?",
    "...",
    " please",
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


PARTS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "tel": (
        _words("전화|통화|연락|문의|상담|대표|직통|콜|사무실|민원|유선|거는|받는|폰|tel|phone"),
        _words("번호|전화|전화번호|연락처|전번|no.|number|전화 번호"),
    ),
    "address": (
        _words("주소|위치|장소|가는|오는|찾는|사무실|건물|본사|방문|있는|도착|우편|address"),
        _words("|길|자리|주소|위치|장소|지역|동네|데|지점|지도"),
    ),
    "web": (
        _words("홈페이지|누리집|사이트|웹|인터넷|온라인|홈피|web|site|홈"),
        _words("사이트|홈페이지|링크|주소|페이지|누리집|사이트 주소|홈피|접속 주소|site|page"),
    ),
    "email": (
        _words("메일|이메일|전자우편|e메일|email|전자|문의|담당자|대표|받는|mail"),
        _words("메일|이메일|우편함|메일 주소|이메일 주소|메일 아이디|mail|메일함"),
    ),
    "hours": (
        _words("운영|이용|업무|여는|닫는|방문|접수|상담|오픈|일하는|진료|관람|마감"),
        _words("시간|시각|때|시간대|시간표"),
    ),
    "fax": (
        _words("팩스|fax|FAX|대표 팩스|팩스 수신|팩스 전송"),
        _words("번호|no.|전송 번호|수신 번호|number|회선"),
    ),
}
"""By field, what comes first and what comes then. Each tells the field by at least one of its parts."""

RESERVED_NOUNS: Final = frozenset(
    (
        *_words("안내전화번호|연락번호|유선번호|통화할번호|주소지|찾아가는길|있는곳|자리잡은곳|웹주소|공식사이트|웹페이지"),
        *_words("인터넷사이트|url|전자메일|메일계정|전자메일주소|이메일계정|영업시간|근무시간|문여는시간|개방시간"),
        *_words("팩시밀리|팩시밀리번호|팩스보낼번호"),
    )
)
"""Those of the world that models are judged by, without blanks."""


def noun(rng: random.Random, field: str) -> str | None:
    """One for the field, if it has any."""
    if field not in PARTS:
        return None
    for _ in range(20):
        first, then = (rng.choice(parts) for parts in PARTS[field])
        found = f"{first}{rng.choice(('', ' '))}{then}".strip()
        if found.replace(" ", "").casefold() not in RESERVED_NOUNS:
            return found
    return None


def with_noise(rng: random.Random, question: str) -> str:
    """Words that say nothing before or after a question, now and then: what it asks for is known by few of its own."""
    before = f"{word(rng, 1, 4)} {rng.choice(('', word(rng, 1, 3) + ' '))}" if rng.random() < 0.4 else ""
    after = f" {word(rng, 1, 3)} {word(rng, 1, 3)}"[: rng.choice((3, 9))] if rng.random() < 0.25 else ""
    return (before + question + after).rstrip()


def general_questions(rng: random.Random) -> tuple[str, ...]:
    """Templates with ``{name}`` and ``{noun}``."""
    asks = tuple(f"{{name}}{rng.choice((' ', '의 ', ', '))}{{noun}}{rng.choice(ASKING)}" for _ in range(4))
    noise = tuple(f"{word(rng, 1, 4)} {{name}} {word(rng, 1, 3)} {{noun}} {word(rng, 1, 4)}" for _ in range(2))
    turned = f"{{noun}}{rng.choice(ASKING)} {word(rng, 1, 3)} {{name}}"
    chosen = (*asks, *noise, turned, *rng.sample(TRAINING_TABLES.general_questions, 4))
    return tuple(with_noise(rng, question) for question in chosen)


def all_questions(rng: random.Random) -> tuple[str, ...]:
    """Templates with ``{name}`` that ask for every contact."""
    objects = ("연락처", "연락 방법", "연락할 곳", "연락 정보", "정보", "contact", "contacts", "닿을 방법", "문의할 곳")
    every = ("전부", "모두", "다", "싹", "전체", "빠짐없이", "all", "있는 대로", "죄다")

    def about(name: str) -> str:
        words = [rng.choice(every), rng.choice(objects)]
        rng.shuffle(words)
        between = rng.choice(("", "", "", f"{word(rng, 1, 3)} "))
        return f"{name}{rng.choice((' ', '의 ', ', ', '에 '))}{between}{' '.join(words)}{rng.choice(ASKING)}"

    return (*(about("{name}") for _ in range(3)), *rng.sample(TRAINING_TABLES.all_questions, 2))
