"""The published page: every fact in both languages, safe, and well formed."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from sensmail.policy import Loaded, loads, page
from sensmail.policy.facts import facts
from sensmail.policy.page import style
from sensmail.policy.words import Lang

Spoil = Callable[..., str]
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Collects text, links, ids and headings, and insists on balanced tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def outline(html: str) -> Outline:
    """Parse a page."""
    made = Outline()
    made.feed(html)
    made.close()
    assert made.open == []
    made.text = " ".join(made.text.split())
    return made


FACTS = yaml.safe_load(Path(__file__).with_name("page_facts.yml").read_text(encoding="utf-8"))
LANGS = get_args(Lang)


@pytest.mark.parametrize("lang", LANGS)
def test_every_fact_is_on_the_page(shipped: Loaded, lang: Lang) -> None:
    text = outline(page(shipped, lang)).text
    assert [fact for fact in FACTS[lang] if fact not in text] == []


@pytest.mark.parametrize("lang", LANGS)
def test_every_value_of_the_data_map_is_on_the_page(shipped: Loaded, lang: Lang) -> None:
    html = page(shipped, lang)
    for item in shipped.policy.art2.items:
        row = next(row for row in html.split("<tr>") if f'<th scope="row">{getattr(item.label, lang)}</th>' in row)
        reason = getattr(item.reason, lang) if item.reason else ""
        assert reason in row


@pytest.mark.parametrize(
    ("old", "new", "ko", "en"),
    [
        ("retention: P5Y", "retention: P7Y", "최소 7년", "at least 7 years"),
        ("access_log:\n      retention: P1Y", "access_log:\n      retention: P3Y", "최소 3년", "at least 3 years"),
        ("reseal_interval: P1Y", "reseal_interval: P6M", "키를 6개월에 한 번", "every 6 months"),
        ("epoch_interval: P1M", "epoch_interval: P10D", "상위 키를 10일에", "every 10 days"),
        ("request_time: P10D", "request_time: P7D", "7일", "7 days"),
        ("within: P5D", "within: P3D", "3일", "3 days"),
        ("interval: P1Y\n    tells", "interval: P6M\n    tells", "6개월에 한 번", "every 6 months"),
        ("reading: earlier", "reading: later", "나중에 오는 날", "later"),
        ("1544-9096\n    cites", "1544-0000\n    cites", "1544-0000", "1544-0000"),
        ('name: ""', "name: 아무개", "아무개", "아무개"),
        ("region: KR", "region: KRS", "지역 KRS", "region KRS"),
        ("site: local", "site: ncloud", "인프라 사업자", "infrastructure provider"),
        ("PIPA-39-8", "PIPA-20-2", "제20조의2", "art. 20-2"),
    ],
)
def test_the_page_follows_the_file(spoil: Spoil, shipped: Loaded, old: str, new: str, ko: str, en: str) -> None:
    loaded = loads(spoil((old, new)).encode(), "policy.yml")
    for lang, said in (("ko", ko), ("en", en)):
        assert said in outline(page(loaded, lang)).text  # type: ignore[arg-type]
        assert page(loaded, lang) != page(shipped, lang)  # type: ignore[arg-type]


def test_no_second_period_where_the_promise_already_covers_it(spoil: Spoil) -> None:
    loaded = loads(
        spoil(("access_log:\n      retention: P1Y", "access_log:\n      retention: P2Y")).encode(), "policy.yml"
    )
    assert "5만 명" not in page(loaded, "ko")


@pytest.mark.parametrize("lang", LANGS)
def test_nothing_is_executed_or_fetched(shipped: Loaded, lang: Lang) -> None:
    made = outline(page(shipped, lang))
    assert {tag for tag, _ in made.tags} & {"script", "style", "iframe", "img", "object", "form"} == set()
    for tag, attrs in made.tags:
        assert not [name for name in attrs if name == "style" or name.startswith("on")], (tag, attrs)
    assert [link["href"] for link in made.all("link") if link.get("rel") == "stylesheet"] == ["../policy.css"]
    assert "url(" not in style()
    assert "@import" not in style()


def test_markup_in_a_value_stays_text(spoil: Spoil) -> None:
    loaded = loads(spoil(("en: Name}", 'en: "<script>alert(1)</script>"}')).encode(), "policy.yml")
    html = page(loaded, "en")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("lang", LANGS)
def test_structure_for_readers_with_assistive_programs(shipped: Loaded, lang: Lang) -> None:
    html = page(shipped, lang)
    made = outline(html)
    assert made.all("html") == [{"lang": lang}]
    assert len(made.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in made.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("scope" in attrs for attrs in made.all("th"))
    assert len(made.all("caption")) == len(made.all("table")) == 4
    ids = [str(attrs["id"]) for _, attrs in made.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    clauses = {f"art{number}" for number in range(1, 12)} | {"art2-1", "art2-2"} | {f"art4-{n}" for n in range(1, 7)}
    assert clauses <= set(ids)
    anchors = [str(attrs["href"])[1:] for attrs in made.all("a") if str(attrs.get("href")).startswith("#")]
    assert set(anchors) <= set(ids)


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast() -> None:
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style(), re.S)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for ink in ("ink", "soft", "link"):
            for ground in ("paper", "band"):
                light, dark = sorted((luminance(scheme[ink]), luminance(scheme[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_earlier_versions_stay_readable(spoil: Spoil, text: str, tmp_path: Path) -> None:
    # an earlier version may break what is asked today; only its shape counts
    (tmp_path / "old.yml").write_text(text.replace("within: P5D", "within: P1M"), encoding="utf-8")
    newer = spoil(
        ('effective: "2022-06-13"\n    announced', "effective: 2026-12-01\n    announced"),
        ("earlier: []", "earlier: [{effective: 2022-06-13, file: old.yml}]"),
    )
    fact: dict[str, Any] = facts(loads(newer.encode(), "policy.yml"), tmp_path / "policy.yml")
    assert fact["versions"] == ["2026-12-01", "2022-06-13"]
    assert [file["path"] for file in fact["archive"]] == [
        f"/var/www/sensmail/policy/{day}/{lang}/index.html"
        for day in ("2026-12-01", "2022-06-13")
        for lang in ("ko", "en")
    ]
    assert 'href="../2022-06-13/ko/"' in fact["pages"]["ko"]


def test_an_earlier_version_from_before_keys_stays_readable(spoil: Spoil, text: str, tmp_path: Path) -> None:
    later = (("      keys:\n", "      cites: [SAFETY-7-1"), ("      holders:\n", "      cites: [SAFETY-5-3"))
    for first, after in later:
        text = text[: text.index(first)] + text[text.index(after) :]
    (tmp_path / "old.yml").write_text(text, encoding="utf-8")
    newer = spoil(
        ('effective: "2022-06-13"\n    announced', "effective: 2026-12-01\n    announced"),
        ("earlier: []", "earlier: [{effective: 2022-06-13, file: old.yml}]"),
    )
    fact = facts(loads(newer.encode(), "policy.yml"), tmp_path / "policy.yml")
    shown = [b64decode(file["content"]).decode() for file in fact["archive"] if "/ko/" in file["path"]]
    for words in ("사람마다 따로 둔 암호 키", "권한을 받는 사람이 아닌 책임자가 승인"):
        assert [words in html for html in shown] == [True, False]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "old.yml:1: policy: cannot be read"),
        ("policy: 1\n", "old.yml:1"),
        ("2021-01-01", "in force from 2021-01-01, not from 2022-06-13"),
    ],
)
def test_an_earlier_version_that_cannot_be_shown_is_refused(
    spoil: Spoil, text: str, tmp_path: Path, content: str | None, said: str
) -> None:
    if content:
        old = (
            text.replace('effective: "2022-06-13"\n    ann', f"effective: {content}\n    ann")
            if "-" in content
            else content
        )
        (tmp_path / "old.yml").write_text(old, encoding="utf-8")
    newer = spoil(
        ('effective: "2022-06-13"\n    announced', "effective: 2026-12-01\n    announced"),
        ("earlier: []", "earlier: [{effective: 2022-06-13, file: old.yml}]"),
    )
    with pytest.raises(Exception, match=re.escape(said)):
        facts(loads(newer.encode(), "policy.yml"), tmp_path / "policy.yml")
