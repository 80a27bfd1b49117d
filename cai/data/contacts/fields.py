"""How the training data words each field of a document: in lists, in prose, in questions and in summaries.

Templates may name ``{value}``, the value of the field; ``{name}``; and, in questions, ``{topic}``, the particle 은/는
after the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class FieldWords:
    """The wordings of one field.

    ``labels`` and ``signs`` (short marks) stand before the value in lists, ``sentences`` hold it in prose. ``nouns``
    fill the general questions, ``questions`` are worded for this field alone; some fields are never asked for and have
    none. ``summaries`` answer; ``missing`` says plainly that the document lacks the field, always with 문서에 and 없.
    """

    labels: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


FIELDS: Final[Mapping[str, FieldWords]] = {
    "tel": FieldWords(
        labels=("전화", "전화번호", "대표전화", "대표번호", "TEL", "연락처", "문의 전화"),
        signs=("☎", "Tel.", "T."),
        sentences=("전화는 {value}입니다.", "대표 전화번호는 {value}입니다.", "전화 {value}번으로 문의하세요."),
        nouns=("전화번호", "전화", "대표전화", "대표번호", "연락처 번호"),
        questions=(
            "{name}에 전화하려면 몇 번으로 걸어야 하나요?",
            "{name} 몇 번으로 전화해?",
            "{name}에 전화하고 싶어요.",
            "{name}에 어디로 전화하면 되나요?",
            "What is the phone number of {name}?",
            "{name} phone number 알려 주세요.",
        ),
        summaries=(
            "전화번호는 {value}입니다.",
            "{name} 전화번호는 {value}입니다.",
            "전화는 {value}입니다.",
            "{value}번으로 전화하면 됩니다.",
        ),
        missing=(
            "문서에 전화번호가 없어 답할 수 없습니다.",
            "문서에 {name} 전화번호가 없습니다.",
            "전화번호는 문서에 없습니다.",
        ),
    ),
    "address": FieldWords(
        labels=("주소", "소재지", "위치", "도로명주소", "오시는 곳", "ADDR"),
        signs=("Addr.", "A.", "주소"),
        sentences=("주소는 {value}입니다.", "{value}에 있습니다.", "위치는 {value}입니다."),
        nouns=("주소", "위치", "소재지", "도로명주소"),
        questions=(
            "{name}{topic} 어디에 있나요?",
            "{name} 어디야?",
            "{name}에 가려면 어디로 가야 하나요?",
            "{name}에 우편을 보내려면 어디로 보내요?",
            "Where is {name}?",
            "{name} address 알려 주세요.",
        ),
        summaries=(
            "주소는 {value}입니다.",
            "{name} 주소는 {value}입니다.",
            "{value}에 있습니다.",
            "위치는 {value}입니다.",
        ),
        missing=(
            "문서에 주소가 없어 답할 수 없습니다.",
            "문서에 {name} 주소가 없습니다.",
            "주소는 문서에 없습니다.",
        ),
    ),
    "web": FieldWords(
        labels=("홈페이지", "누리집", "웹사이트", "WEB", "사이트"),
        signs=("Web", "W.", "누리집"),
        sentences=("홈페이지는 {value}입니다.", "누리집 주소는 {value}입니다.", "자세한 안내는 {value}에 있습니다."),
        nouns=("홈페이지", "누리집", "홈페이지 주소", "웹사이트", "사이트 주소"),
        questions=(
            "{name} 소식을 인터넷에서 보려면 어디로 가나요?",
            "{name} 인터넷 주소가 뭐야?",
            "{name}{topic} 홈페이지가 있나요?",
            "What is the website of {name}?",
            "{name} website 알려 주세요.",
        ),
        summaries=(
            "홈페이지는 {value}입니다.",
            "{name} 홈페이지는 {value}입니다.",
            "누리집 주소는 {value}입니다.",
        ),
        missing=(
            "문서에 홈페이지가 없어 답할 수 없습니다.",
            "문서에 {name} 홈페이지가 없습니다.",
            "홈페이지는 문서에 없습니다.",
        ),
    ),
    "email": FieldWords(
        labels=("이메일", "전자우편", "메일", "E-mail", "EMAIL"),
        signs=("E-mail", "E.", "메일"),
        sentences=("이메일은 {value}입니다.", "이메일 주소는 {value}입니다.", "메일은 {value}로 보내 주세요."),
        nouns=("이메일", "이메일 주소", "메일 주소", "전자우편"),
        questions=(
            "{name}에 이메일을 보내려면 어디로 보내요?",
            "{name}에 메일 보내고 싶어요.",
            "{name}에 메일로 문의할 수 있나요?",
            "What is the email of {name}?",
            "{name} email 알려 주세요.",
        ),
        summaries=(
            "이메일은 {value}입니다.",
            "{name} 이메일은 {value}입니다.",
            "이메일 주소는 {value}입니다.",
        ),
        missing=(
            "문서에 이메일이 없어 답할 수 없습니다.",
            "문서에 {name} 이메일이 없습니다.",
            "이메일은 문서에 없습니다.",
        ),
    ),
    "hours": FieldWords(
        labels=("운영시간", "이용시간", "업무시간", "운영 시간", "시간"),
        signs=("Open", "시간"),
        sentences=("운영시간은 {value}입니다.", "{value} 운영합니다.", "이용시간은 {value}입니다."),
        nouns=("운영시간", "이용시간", "업무시간", "여는 시간"),
        questions=(
            "{name}{topic} 몇 시까지 하나요?",
            "{name} 언제 열어요?",
            "{name}에 언제 가면 되나요?",
            "{name} 몇 시에 열어?",
            "What are the opening hours of {name}?",
        ),
        summaries=(
            "운영시간은 {value}입니다.",
            "{name} 운영시간은 {value}입니다.",
            "{value} 운영합니다.",
        ),
        missing=(
            "문서에 운영시간이 없어 답할 수 없습니다.",
            "문서에 {name} 운영시간이 없습니다.",
            "운영시간은 문서에 없습니다.",
        ),
    ),
    "fax": FieldWords(
        labels=("팩스", "팩스번호", "FAX", "Fax"),
        signs=("Fax", "F."),
        sentences=("팩스는 {value}입니다.", "팩스 번호는 {value}입니다."),
        nouns=("팩스", "팩스번호", "팩스 번호"),
        questions=("{name}에 팩스를 보내려면 몇 번인가요?", "{name}에 팩스 보내고 싶어요.", "{name} fax 알려 주세요."),
        summaries=("팩스는 {value}입니다.", "{name} 팩스 번호는 {value}입니다."),
        missing=("문서에 팩스 번호가 없어 답할 수 없습니다.", "팩스 번호는 문서에 없습니다."),
    ),
    "second_tel": FieldWords(
        labels=("예약 전화", "야간 전화", "상담 전화"),
        signs=("예약 ☎", "야간 ☎"),
        sentences=("예약 전화는 {value}입니다.", "야간 전화는 {value}입니다."),
    ),
    "department": FieldWords(
        labels=("담당", "담당부서", "부서", "문의"),
        signs=("담당", "문의"),
        sentences=("문의는 {value}에서 받습니다.", "담당 부서는 {value}입니다.", "{value}에서 안내합니다."),
    ),
    "service": FieldWords(
        labels=("업무", "주요업무", "서비스"),
        signs=("업무", "Info"),
        sentences=("주요 업무는 {value}입니다.", "{value} 업무를 합니다."),
    ),
}
