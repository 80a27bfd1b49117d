"""Contact labels of every spelling (전화, Tel, ☎) as one (``TEL:``), and only where they are labels."""

from __future__ import annotations

import re
from typing import Final

_BLANKS: Final = r" \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_BLANK: Final = rf"[{_BLANKS}]"
_COLON: Final = rf"{_BLANK}*+[:：](?!:|//)"
"""Neither ``Web::Client`` nor ``web://x``."""

# Signs that open a field without a blank after them; the variation selector ends an emoji such as ☎️.
_OPENING: Final = r"\t*|,;(\[>•·ㆍ∙・▪■□◆◇○●▶►▷※★☆✓✔☎☏📞📱📍🏠🌐✉📧💬\ufe0f"
_START: Final = rf"""(?<!\]\()                                              # [전화](tel:02-123-4567) is an address
    (?: (?<![^\n{_OPENING}])                                                # line start or an opening sign
      | (?<={_BLANK})(?<![^\n{_OPENING}{_BLANKS}\-–—/.)\]]{_BLANK})         # one blank after a sign, or two
      | (?<=[-–—])(?<![^\n{_BLANKS}][-–—])                                  # "-전화", not "home-web"
      | (?<=/)(?:(?=[가-힣])|(?<=[0-9]/))                                   # "4567/Web", not "example.com/Web"
    )"""
_BESIDE: Final = rf"(?<=[^\s:：]{_BLANK})"
"""After a word and a blank: enough for ☎, which is no part of any word."""

_GAP: Final = rf"(?:{_BLANK}*+[-.)]?+{_BLANK}*+)"
_NUMBER: Final = rf"""(?: \+[0-9](?:{_GAP}\(?+[0-9]){{6}}
    | \(?+0[0-9]{{1,3}}{_GAP}[0-9]{{3,4}}{_GAP}[0-9]{{4}}(?![0-9])
    | 1[5-8][0-9]{{2}}{_GAP}[0-9]{{4}}(?![0-9]) )"""
_SHORT_NUMBER: Final = r"1[0-9]{2,3}(?![0-9-])"
_URL: Final = r"(?:(?i:https?://|www\.)|(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,})"
_MAIL: Final = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9]"
_PROVINCE: Final = (
    "(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|제주|충청[북남]|전라[북남]|경상[북남]|충[북남]|전[북남]|경[북남])"
    "(?:특별자치시|특별자치도|특별시|광역시|시|도)?"
)
_PLACE: Final = rf"{_PROVINCE}{_BLANK}++[가-힣0-9]{{1,12}}[시군구읍면동로길](?![가-힣])"


def _label(name: str, words: str, value: str, between: str) -> str:
    """The words with a colon, or before a value. Words in lower case, which code is full of, need the value."""
    return rf"""{_START}(?P<{name}>
        (?:{words}) (?: {_COLON}(?={_BLANK}*+{value}) | (?={between}{value}) )
      | (?![a-z])(?:{words}){_COLON} )"""


_LABEL: Final = re.compile(
    "|".join(
        [
            _label("TEL", r"전화|(?i:tel)\.?", _NUMBER, f"{_BLANK}*+"),
            rf"(?:{_START}|{_BESIDE})(?P<PHONE>[☎☏📞]\ufe0f?(?:{_COLON}|(?={_BLANK}*+(?:{_NUMBER}|{_SHORT_NUMBER}))))",
            rf"{_START}(?P<ADDR>(?:주소|(?i:address|addr)\.?)(?:{_COLON}(?={_BLANK}*+[가-힣])|(?={_BLANK}++{_PLACE}))"
            rf"|(?:주소|A(?i:ddress|ddr)\.?){_COLON})",
            _label("WEB", "홈페이지|웹사이트|(?i:website|web|homepage)", _URL, f"{_BLANK}++"),
            _label("EMAIL", "이메일|(?i:e-?mail)", _MAIL, f"{_BLANK}++"),
            rf"{_START}(?P<KAKAO>(?:카카오톡|카카오|카톡){_COLON})",
        ]
    ),
    re.VERBOSE,
)
# What every label begins with. Searched alone because it is literal text, ten times as fast as the rules.
_WORD: Final = re.compile(
    "전화|주소|홈페이지|웹사이트|이메일|카카오|카톡|☎|☏|📞|Tel|TEL|tel|Addr|ADDR|addr"
    "|Web|WEB|web|Home|HOME|home|Email|EMail|EMAIL|email|eMail|E-|e-"
)


def standardise(text: str) -> str:
    """``text`` with its contact labels spelled ``TEL:``, ``ADDR:``, ``WEB:``, ``EMAIL:`` or ``KAKAO:``.

    A word is a label at the start of a line or after a list or field delimiter, and only if a colon follows, or the value
    itself: a telephone number, a URL, a mail address, a Korean province with a place in it. So 전화번호, 주소록,
    ``https://web.x``, ``hotel@x`` and ``def f(email: str)`` stay as they are. Takes linear time; never joins lines.
    """
    pieces: list[str] = []
    end = 0
    for word in _WORD.finditer(text):
        label = _LABEL.match(text, word.start()) if word.start() >= end else None
        if label is not None:
            name = "TEL" if label.lastgroup == "PHONE" else label.lastgroup
            following = text[label.end() : label.end() + 1]
            glued = following.isalnum() or following in ("+", "(")
            pieces += [text[end : label.start()], f"{name}: " if glued else f"{name}:"]
            end = label.end()
    return "".join([*pieces, text[end:]]) if pieces else text
