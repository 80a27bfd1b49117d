"""The wordings of the second world that belong to no single field; the templates name the same things as in training."""

from __future__ import annotations

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

CHECKLIST: Final = (
    "{hours}에 맞추어 들르기",
    "문 여는 때 살피기: {hours}",
    "가기 전에 시간({hours}) 살피기",
    "{department}에 물어보기",
    "{department} 창구 들르기",
    "{department} 자리 알아 두기",
    "{service} 준비물 챙기기",
    "{service} 신청 방법 알아보기",
    "{service} 접수 여부 물어보기",
)

DETAILS: Final = (
    "{name}에서 하는 일은 {service}입니다.",
    "{name}{topic} {service} 등을 맡아 처리합니다.",
    "하는 일은 {service}, 맡은 부서는 {department}입니다.",
    "궁금한 점은 {name} {department}에서 풀어 드립니다.",
    "맡은 부서는 {department}입니다.",
    "{name}의 문을 여는 때는 {hours}입니다.",
    "하는 일은 {service}, 여는 때는 {hours}입니다.",
    "{department}에서 손님을 맞는 때는 {hours}입니다.",
    "{name}{topic} {address}에 자리 잡고 있습니다.",
)
"""Closed by 니다 and a full stop, without web or mail addresses, as the format of answers asks."""
