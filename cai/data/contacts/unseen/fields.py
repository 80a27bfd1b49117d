"""How the second world words each field of a document. Who knows the labels of the training data understands these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cai.data.contacts.words import FieldWords

FIELDS: Final[Mapping[str, FieldWords]] = {
    "tel": FieldWords(
        labels=("전화 안내", "안내 전화", "대표 TEL", "전화 문의", "Telephone", "Phone", "유선 전화"),
        signs=("☏", "Ph.", "📞"),
        sentences=(
            "전화를 주실 분은 {value}번을 눌러 주세요.",
            "전화 문의는 {value}번에서 받습니다.",
            "안내 전화는 {value}번입니다.",
        ),
        nouns=("안내 전화번호", "연락 번호", "유선 번호", "통화할 번호"),
        questions=(
            "{name}에 통화하려면 무슨 번호를 눌러요?",
            "{name}{topic} 몇 번에 걸면 받나요?",
            "{name}에 지금 전화 걸려고 해요.",
            "Could you give me the telephone number for {name}?",
            "{name} telephone 부탁드려요.",
        ),
        summaries=(
            "연락 번호는 {value}번입니다.",
            "{name}의 안내 전화는 {value}입니다.",
            "{value}번을 누르면 통화할 수 있습니다.",
        ),
        missing=(
            "찾으시는 전화번호가 문서에 없습니다.",
            "문서에 {name} 연락 번호가 나오지 않아 알 수 없습니다.",
            "문서에 안내 전화가 적혀 있지 않으므로 답이 없습니다.",
        ),
    ),
    "address": FieldWords(
        labels=("주소지", "찾아오는 길", "Address", "찾아오시는 곳", "있는 곳", "위치 안내"),
        signs=("📍", "Loc.", "곳"),
        sentences=(
            "찾아오실 곳은 {value}입니다.",
            "{value}에 자리하고 있습니다.",
            "건물이 있는 곳은 {value}입니다.",
        ),
        nouns=("주소지", "찾아가는 길", "있는 곳", "자리 잡은 곳"),
        questions=(
            "{name}까지 가려는데 목적지를 어디로 하죠?",
            "{name} 건물이 있는 데가 어디죠?",
            "내비게이션에 찍을 {name} 자리를 말해 주세요.",
            "What is the street address of {name}?",
            "{name} location 좀 보여 주세요.",
        ),
        summaries=(
            "주소지는 {value}입니다.",
            "{name}의 자리는 {value}입니다.",
            "찾아갈 곳은 {value}입니다.",
        ),
        missing=(
            "찾으시는 주소가 문서에 없습니다.",
            "문서에 {name} 주소지가 나오지 않아 알 수 없습니다.",
            "문서에 위치가 적혀 있지 않으므로 답이 없습니다.",
        ),
    ),
    "web": FieldWords(
        labels=("웹 주소", "Homepage", "URL", "공식 홈페이지", "인터넷 주소"),
        signs=("🌐", "WWW", "웹"),
        sentences=(
            "인터넷 주소는 {value}입니다.",
            "새 소식은 {value}에서 볼 수 있습니다.",
            "공식 홈페이지는 {value}입니다.",
        ),
        nouns=("웹 주소", "공식 사이트", "웹페이지", "인터넷 사이트", "URL"),
        questions=(
            "{name}{topic} 온라인에서 어디를 보면 되나요?",
            "{name} 온라인 페이지 어디야?",
            "{name} 공지를 웹에서 보려면요?",
            "Which website belongs to {name}?",
            "{name} homepage 열고 싶어요.",
        ),
        summaries=(
            "웹 주소는 {value}입니다.",
            "{name}의 공식 사이트는 {value}입니다.",
            "인터넷에서는 {value}에 들어가면 됩니다.",
        ),
        missing=(
            "찾으시는 홈페이지가 문서에 없습니다.",
            "문서에 {name} 웹 주소가 나오지 않아 알 수 없습니다.",
            "문서에 사이트가 적혀 있지 않으므로 답이 없습니다.",
        ),
    ),
    "email": FieldWords(
        labels=("전자 메일", "Mail", "메일 주소", "이메일 문의", "Email address"),
        signs=("✉", "📧", "Mail"),
        sentences=(
            "전자 메일은 {value}입니다.",
            "글로 하실 문의는 {value}에서 받습니다.",
            "메일을 받는 주소는 {value}입니다.",
        ),
        nouns=("전자 메일", "메일 계정", "전자 메일 주소", "이메일 계정"),
        questions=(
            "{name}에 글로 문의할 메일을 찾습니다.",
            "{name} 담당자에게 메일 쓰려면 어디로 써요?",
            "파일을 {name}에 메일로 부치려면요?",
            "Which email address does {name} use?",
            "{name} e-mail 좀 적어 주세요.",
        ),
        summaries=(
            "전자 메일은 {value}로 보내면 됩니다.",
            "{name}의 메일 주소는 {value}입니다.",
            "메일을 받는 곳은 {value}입니다.",
        ),
        missing=(
            "찾으시는 이메일이 문서에 없습니다.",
            "문서에 {name} 메일 주소가 나오지 않아 알 수 없습니다.",
            "문서에 전자 메일이 적혀 있지 않으므로 답이 없습니다.",
        ),
    ),
    "hours": FieldWords(
        labels=("영업시간", "근무시간", "문 여는 시간", "Opening hours", "개방시간"),
        signs=("⏰", "🕘", "Hours"),
        sentences=(
            "문을 여는 때는 {value}입니다.",
            "찾아오실 수 있는 시간은 {value}입니다.",
            "근무시간은 {value}입니다.",
        ),
        nouns=("영업시간", "근무시간", "문 여는 시간", "개방시간"),
        questions=(
            "{name}{topic} 몇 시에 문을 닫아요?",
            "{name}에 가도 되는 때가 언제예요?",
            "{name}에는 몇 시쯤 가야 해요?",
            "When is {name} open?",
        ),
        summaries=(
            "문을 여는 시간은 {value}입니다.",
            "{name}의 근무시간은 {value}입니다.",
            "{value}에 맞추어 가면 됩니다.",
        ),
        missing=(
            "찾으시는 운영시간이 문서에 없습니다.",
            "문서에 {name} 근무시간이 나오지 않아 알 수 없습니다.",
            "문서에 여는 때가 적혀 있지 않으므로 답이 없습니다.",
        ),
    ),
    "fax": FieldWords(
        labels=("팩스 안내", "팩시밀리 FAX", "팩시밀리", "Facsimile"),
        signs=("📠", "Facs."),
        sentences=("팩시밀리는 {value}번입니다.", "서류는 팩스 {value}번으로 받습니다."),
        nouns=("팩시밀리", "팩시밀리 번호", "팩스 보낼 번호"),
        questions=(
            "{name}에 서류를 팩스로 넣으려는데 번호가 뭐죠?",
            "{name} 팩스는 어디로 넣어요?",
            "Which fax number does {name} have?",
        ),
        summaries=("팩시밀리 번호는 {value}입니다.", "{name}에서 팩스를 받는 번호는 {value}입니다."),
        missing=("찾으시는 팩스 번호가 문서에 없습니다.", "문서에 {name} 팩시밀리가 나오지 않아 알 수 없습니다."),
    ),
    "second_tel": FieldWords(
        labels=("야간 상담 전화", "주말 전화", "예약 접수 전화"),
        signs=("야간 ☏", "주말 ☏"),
        sentences=("주말에는 {value}번으로 걸어 주세요.", "야간 상담은 {value}번에서 받습니다."),
    ),
    "department": FieldWords(
        labels=("안내 부서", "문의처", "소관 부서", "Department"),
        signs=("Dept.", "문의처"),
        sentences=(
            "안내는 {value}에서 맡고 있습니다.",
            "궁금한 점은 {value}에 물어보세요.",
            "맡은 부서는 {value}입니다.",
        ),
    ),
    "service": FieldWords(
        labels=("하는 일", "주요 서비스", "취급 업무", "Services"),
        signs=("하는 일", "Serv."),
        sentences=("하는 일은 {value}입니다.", "{value} 등을 도와드립니다."),
    ),
}
