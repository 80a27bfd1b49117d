"""The wordings of the second world that belong to no single field; the templates name the same things as in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cai.data.contacts.wordings import Layout

LAYOUTS: Final = (
    Layout("{name} 연락망", "{label} ▷ {value}"),
    Layout("◆ {name}", "◇ {label} → {value}"),
    Layout("【{name}】", "【{label}】 {value}"),
    Layout("=== {name} ===", "{label} - {value}"),
    Layout("**{name}**", "- **{label}** {value}"),
    Layout("★ {name} ★", "{value} ({label})"),
    Layout("이름 : {name}", "+ {label} :: {value}"),
    Layout('"명칭","{name}"', '"{label}","{value}"'),
    Layout("| {name} | 내용 |", "| {value} | {label} |"),
    Layout("제목: {name}", "-- {label}, {value}"),
    Layout("「{name}」", "「{label}」 {value}", " "),
    Layout("● {name}", "{label} → {value}", "; "),
    Layout("상호: {name}", "{label} ☞ {value}", " // "),
    Layout("〔{name}〕", "> {sign} {value}"),
    Layout("○ {name}", "{sign}: {value}", " ‖ "),
    Layout("{name} 방문객 여러분께 알립니다.", "{sentence}", " "),
    Layout("다음은 {name} 이용에 필요한 정보입니다.", "{sentence}"),
    Layout("안녕하세요. {name}입니다.", "{sentence}", " "),
    Layout("<< {name} >>", "※ {sentence}"),
)

GENERAL_QUESTIONS: Final = (
    "{name}의 {noun}{subject} 필요합니다.",
    "{name} {noun} 확인 부탁해요.",
    "혹시 {name} {noun} 아시나요?",
    "{name} {noun} 말해 줘",
    "{name} {noun} 검색해 줄래?",
    "저는 {name} {noun}{subject} 알고 싶습니다.",
    "자료를 보고 {name}의 {noun}{subject} 어떤지 답해 주세요.",
    "이 글에서 {name} {noun}만 뽑아 줘",
    "{name}, {noun} 좀요.",
    "이 기관의 {noun}{subject} 어떻게 돼요?",
    "{noun}{subject} 안 보여요. {name} 것으로 부탁합니다.",
    "{name} 이용객인데 {noun} 여쭤봅니다.",
)

ALL_QUESTIONS: Final = (
    "{name}에 연락하는 길을 빠짐없이 적어 주세요.",
    "{name} 연락 수단 목록 보여 줘",
    "{name} 연락처를 한눈에 보고 싶어요.",
    "{name} 쪽으로 연락할 방법 다 말해 줘",
    "{name} 연락처 일체를 부탁드립니다.",
    "List all contact details of {name}.",
)

ALL_SUMMARIES: Final = (
    "연락할 방법은 모두 {value}입니다.",
    "{name}에 닿는 길은 {value}입니다.",
    "확인된 연락 수단은 {value}입니다.",
)

CHECKLIST: Final[Mapping[str, tuple[str, ...]]] = {
    "tel": ("통화할 때 할 말을 미리 써 보기", "받는 시간이 언제인지 알아보기"),
    "address": ("지도에서 자리를 찾아보기", "몇 시에 여는지 알아보고 나서기"),
    "web": ("주소를 틀리지 않게 옮겨 적기", "공지를 먼저 읽어 보기"),
    "email": ("주소를 틀리지 않게 옮겨 쓰기", "쓸 말을 미리 간추리기"),
    "hours": ("쉬는 때를 미리 알아보기", "시간에 맞추어 나서기"),
    "fax": ("번호를 틀리지 않게 옮겨 적기", "넣을 서류를 모아 두기"),
    "all": ("쓸 연락처를 옮겨 적기", "할 말을 미리 써 보기"),
    "missing": ("다른 글도 살펴보기", "적힌 곳에 물어보기"),
}

DETAILS: Final = ("연락처는 문서에서 옮겨 적었고, 더 알고 싶은 것은 문서에 나와 있습니다.",)
"""Closed by 니다 and a full stop, without web or mail addresses, as the format of answers asks."""
