"""Words of the published page that a value of the policy selects, in both languages."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, TypeAlias

from sensmail.policy.durations import Duration

Lang: TypeAlias = Literal["ko", "en"]

_KO = {
    "other": "en",
    "title": "개인정보 처리방침",
    "skip": "본문 바로가기",
    "languages": "언어",
    "contents": "차례",
    "effective": "시행일",
    "closing": "이 화면은 서비스를 설정하는 처리방침 파일에서 그대로 만들어졌습니다.",
    "articles": (
        "제1조 (개인정보의 처리 목적)",
        "제2조 (개인정보의 항목과 보유기간)",
        "제3조 (개인정보 처리의 위탁)",
        "제4조 (개인정보의 안전성 확보 조치)",
        "제5조 (정보주체의 권리와 행사 방법)",
        "제6조 (개인정보 이용내역의 통지)",
        "제7조 (개인정보의 파기)",
        "제8조 (권익침해에 대한 구제 방법)",
        "제9조 (개인정보 보호책임자와 담당자)",
        "제10조 (개인정보의 열람청구)",
        "제11조 (처리방침의 변경)",
    ),
    "category": {"required": "필수", "optional": "선택", "generated": "이용 중 생성"},
    "protection": {"sealed": "암호화 저장", "one_way": "일방향 암호화", "open": "암호화하지 않음"},
    "retention": {"account": "제2조 ②까지", "access_log": "제4조 ③ 기간", "access_rights": "제4조 ② 기간"},
    "role": {
        "privacy_officer": "개인정보 보호책임자",
        "privacy_manager": "개인정보 보호관리자",
        "privacy_handler": "개인정보 보호담당자",
    },
    "scheme": {"argon2id": "Argon2id"},
    "paper": {"shred": "분쇄", "burn": "소각"},
}

_EN = {
    "other": "ko",
    "title": "Privacy policy",
    "skip": "Skip to the text",
    "languages": "Languages",
    "contents": "Contents",
    "effective": "In force from",
    "closing": (
        "PIPA is the Personal Information Protection Act of Korea. "
        "This page is made directly from the policy file that configures the service."
    ),
    "articles": (
        "Article 1 (Purposes)",
        "Article 2 (Items and period)",
        "Article 3 (Processors)",
        "Article 4 (Safety measures)",
        "Article 5 (Your rights)",
        "Article 6 (Notice of use)",
        "Article 7 (Destruction)",
        "Article 8 (Remedies)",
        "Article 9 (Officers)",
        "Article 10 (Requests for access)",
        "Article 11 (Changes)",
    ),
    "category": {"required": "Required", "optional": "Optional", "generated": "Generated in use"},
    "protection": {"sealed": "Stored encrypted", "one_way": "Encrypted one-way", "open": "Not encrypted"},
    "retention": {"account": "Article 2(2)", "access_log": "Article 4(3)", "access_rights": "Article 4(2)"},
    "role": {
        "privacy_officer": "Privacy officer",
        "privacy_manager": "Privacy manager",
        "privacy_handler": "Privacy handler",
    },
    "scheme": {"argon2id": "Argon2id"},
    "paper": {"shred": "shredded", "burn": "burned"},
}

WORDS = MappingProxyType({"ko": MappingProxyType(_KO), "en": MappingProxyType(_EN)})

_UNITS = {"ko": ("년", "개월", "일"), "en": ("year", "month", "day")}


def spoken(duration: Duration, lang: Lang) -> str:
    """Return a duration as people say it: ``P1Y`` is 1년, ``P10D`` is 10 days."""
    years, months = divmod(duration.months, 12)
    parts = [
        (number, unit) for number, unit in zip((years, months, duration.days), _UNITS[lang], strict=True) if number
    ]
    if lang == "ko":
        return " ".join(f"{number}{unit}" for number, unit in parts)
    return " and ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts)


def interval(duration: Duration, lang: Lang) -> str:
    """Return a duration as an interval: every *year*, every *10 days*; Korean says it like any duration."""
    text = spoken(duration, lang)
    return text.removeprefix("1 ") if lang == "en" and " and " not in text else text
