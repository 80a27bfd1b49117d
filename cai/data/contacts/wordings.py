"""The wordings of the training data that belong to no single field: layouts, questions, and sentences of answers.

Templates name what they need in braces: ``{name}``; ``{topic}``, the particle 은/는 after it; ``{noun}`` and
``{subject}``, the particle 이/가 after it; the fields that a document states, such as ``{hours}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Layout:
    """A form of document: ``opening``, then one ``item`` for each field, all joined by ``joint``."""

    opening: str
    item: str
    joint: str = "\n"


LAYOUTS: Final = (
    Layout("{name}", "{label}: {value}"),
    Layout("{name} 안내", "{label}: {value}"),
    Layout("기관명: {name}", "{label}: {value}"),
    Layout("■ {name}", "- {label}: {value}"),
    Layout("# {name}", "* {label}: {value}"),
    Layout("{name}", "• {label} {value}"),
    Layout("[{name}]", "{label} {value}"),
    Layout("<{name}>", "[{label}] {value}"),
    Layout("{name}", "({label}) {value}"),
    Layout("▶ {name}", "{label} = {value}"),
    Layout("| 기관 | {name} |", "| {label} | {value} |"),
    Layout("{name}", "{label} {value}", " | "),
    Layout("{name}", "{label}: {value}", " / "),
    Layout("{name}", "{label} {value}", ", "),
    Layout("{name}", "{sign} {value}"),
    Layout("{name}", "{sign} {value}", " · "),
    Layout("{name} 안내입니다.", "{sentence}", " "),
    Layout("{name} 연락 안내는 다음과 같습니다.", "{sentence}", " "),
    Layout("{name}에서 알려 드립니다.", "{sentence}", " "),
    Layout("{name} 소개", "{sentence}"),
)

GENERAL_QUESTIONS: Final = (
    "{name} {noun} 알려 주세요.",
    "{name} {noun} 알려줘",
    "{name} {noun}?",
    "{name} {noun} 좀 알려 주세요.",
    "{name}의 {noun}{subject} 뭐예요?",
    "{name} {noun}{subject} 어떻게 되나요?",
    "{name} {noun} 부탁드립니다.",
    "{name} {noun} 찾아줘",
    "{name} {noun}{subject} 무엇입니까?",
    "{name} {noun} 궁금해요.",
    "{noun} 알려 주세요. {name}입니다.",
    "{name}에 문의하려고 해요. {noun}{subject} 뭔가요?",
    "문서에서 {name} {noun} 찾아 주세요.",
    "여기 {noun} 알려 주세요.",
    "{name} {noun} 있어요?",
    "{name}, {noun}{subject} 뭔지 알려 주실래요?",
    "{noun}요. {name} 거요.",
    "이 문서에 나온 {name} {noun}{subject} 뭐죠?",
    "{name} 방문하려고 하는데 {noun} 부탁해요",
    "안녕하세요, {name} {noun} 문의드립니다.",
    "{name}{topic} {noun}{subject} 어떻게 되죠?",
    "{noun} 하나만 찾아 주세요. {name}",
)

ALL_QUESTIONS: Final = (
    "{name} 연락처를 모두 알려 주세요.",
    "{name} 연락처 전부 알려줘",
    "{name} 연락처 정리해 주세요.",
    "{name}에 연락할 방법을 모두 알려 주세요.",
    "{name} 연락처 요약해 줘",
    "{name} 연락 정보 알려 주세요.",
    "How can I contact {name}?",
)

ALL_SUMMARIES: Final = (
    "연락처는 {value}입니다.",
    "{name} 연락처는 {value}입니다.",
    "연락처를 모으면 {value}입니다.",
)

CHECKLIST: Final = (
    "{hours} 운영 확인하기",
    "운영시간({hours}) 확인하기",
    "방문 전 운영시간 확인: {hours}",
    "{department}에 문의하기",
    "{department} 찾기",
    "{department} 담당자 확인하기",
    "{service} 문의하기",
    "{service} 절차 확인하기",
    "{service} 가능 여부 묻기",
)

DETAILS: Final = (
    "{name}의 주요 업무는 {service}입니다.",
    "{name}{topic} {service} 업무를 합니다.",
    "주요 업무는 {service}, 담당 부서는 {department}입니다.",
    "{name} 문의는 {department}에서 받습니다.",
    "담당 부서는 {department}입니다.",
    "{name}{topic} {hours} 운영합니다.",
    "주요 업무는 {service}, 운영시간은 {hours}입니다.",
    "담당 부서는 {department}, 운영시간은 {hours}입니다.",
    "{name}{topic} {address}에 있습니다.",
)
"""One sentence each, closed by 니다 and a full stop, without web or mail addresses: so an answer cut short is told."""
