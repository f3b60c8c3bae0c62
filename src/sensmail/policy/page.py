"""The published privacy policy as HTML, rendered from the values that are enforced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from sensmail.policy.law import Law
from sensmail.policy.load import Loaded
from sensmail.policy.model import Policy, PurposeId
from sensmail.policy.words import WORDS, Lang, interval, spoken

LANGS: tuple[Lang, ...] = ("ko", "en")
ACCESS_LOG = "art4.access_log.retention"


def page(loaded: Loaded, lang: Lang, root: str = "..") -> str:
    """Return the page in one language. `root` is the way from the page to the directory of the style sheet."""
    policy = loaded.policy
    steps = [step for duty in loaded.law.of_path(ACCESS_LOG) for step in duty.raised]
    return _environment(loaded, lang).get_template(f"{lang}.html.j2").render(
        lang=lang,
        words=WORDS[lang],
        policy=policy,
        root=root,
        raised=[step for step in steps if not policy.art4.access_log.retention.covers(step.value)],
        named=any(officer.name for officer in policy.art9.officers),
    )  # fmt: skip


def style() -> str:
    """Return the style sheet of the pages."""
    return (files(__package__) / "templates" / "policy.css").read_text(encoding="utf-8")


def _environment(loaded: Loaded, lang: Lang) -> Environment:
    made = Environment(
        loader=PackageLoader(__package__ or "sensmail.policy"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["period"] = partial(spoken, lang=lang)
    made.filters["each"] = partial(interval, lang=lang)
    made.filters["day"] = partial(_day, lang=lang)
    made.filters["count"] = partial(_count, lang=lang)
    made.filters["cited"] = partial(_cited, law=loaded.law, lang=lang)
    made.filters["numbers"] = partial(_numbers, policy=loaded.policy)
    made.filters["word"] = _word
    return made


def _day(day: date, lang: Lang) -> str:
    return f"{day.year}년 {day.month}월 {day.day}일" if lang == "ko" else day.isoformat()


def _count(number: int, lang: Lang) -> str:
    ten_thousands, rest = divmod(number, 10_000)
    return f"{ten_thousands:,}만 " if lang == "ko" and ten_thousands and not rest else f"{number:,}"


def _cited(ids: Iterable[str], law: Law, lang: Lang) -> list[str]:
    """Return the names of cited articles; one that was replaced by the article in force now, with what it was."""
    names = []
    for article in (law.articles[each] for each in ids):
        old = getattr(article, lang)
        if article.replaced is None:
            names.append(old)
        else:
            now, since = getattr(law.articles[article.replaced.by], lang), article.replaced.since
            names.append(f"{now}({since} 이전: {old})" if lang == "ko" else f"{now} (before {since}: {old})")
    return names


def _numbers(ids: Iterable[PurposeId], policy: Policy) -> list[int]:
    """Return the positions of purposes in article 1, from 1."""
    order = [purpose.id for purpose in policy.art1.purposes]
    return [order.index(each) + 1 for each in ids]


def _word(key: str, words: Mapping[str, str]) -> str:
    return words[key]
