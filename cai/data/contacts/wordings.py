"""The wordings of the training data that belong to no single field: layouts, questions, and sentences of answers.

Templates name what they need in braces: ``{name}``; ``{topic}``, the particle 은/는 after it; ``{noun}`` and
``{subject}``, the particle 이/가 after it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    "{name} {noun}{subject} 필요해요",
    "{name}{topic} {noun}{subject} 있나요?",
    "{name} {noun}{subject} 안 나와요. 뭐예요?",
    "{name} {noun} 정보 부탁합니다.",
    "{name} {noun} 말씀해 주세요.",
    "글에서 {name} {noun}만 적어 주세요.",
    "{name} {noun}{subject} 어디 적혀 있죠?",
    "혹시 {noun} 있나요? {name}요.",
    "{name} {noun}를 보고 싶습니다.",
    "{name} {noun} 확인하고 싶어요",
    "{name}에 처음 가는데 {noun} 좀요!",
    "What is the {noun} of {name}?",
    "아래 글에 있는 {name} {noun} 좀 옮겨 주세요.",
    "급해요! {name} {noun}요.",
    "찾는 곳은 {name}인데 {noun}{subject} 필요하네요.",
    "지금 {name} 앞인데 {noun} 좀 볼게요.",
    "어제 들은 {name}의 {noun}{subject} 궁금합니다.",
    "{noun}{subject} 궁금한 곳은 {name} 하나예요.",
    "{name} {noun} please",
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

ALL_SUMMARIES: Final = ("연락처는 {value}입니다.",)

CHECKLIST: Final[Mapping[str, tuple[str, ...]]] = {
    "tel": ("전화하기 전에 물어볼 내용 적어 두기", "통화가 되는 시간 확인하기"),
    "address": ("출발하기 전에 가는 길 확인하기", "가기 전에 문 여는 시간 확인하기"),
    "web": ("들어가기 전에 주소 다시 확인하기", "새로 올라온 안내 살펴보기"),
    "email": ("보내기 전에 주소 다시 확인하기", "보낼 내용 정리해 두기"),
    "hours": ("가기 전에 쉬는 날 확인하기", "늦지 않게 출발하기"),
    "fax": ("보내기 전에 번호 다시 확인하기", "보낼 서류 챙기기"),
    "all": ("필요한 연락처 적어 두기", "연락하기 전에 물어볼 내용 적어 두기"),
    "missing": ("다른 자료에서 찾아보기", "연락처로 직접 물어보기"),
}
"""By the field asked for, or ``missing`` if the document lacks it: advice, which says nothing of an organisation. So nothing
in it can be wrong, or lead astray what follows."""

DETAILS: Final = ("그 밖의 내용은 문서에 있습니다.",)
"""One sentence each, closed by 니다 and a full stop, without web or mail addresses: so an answer cut short is told."""
