"""Addresses and domains: one canonical form, clear refusals, no crash on hostile text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensmail.accounts.address import canonical_address, canonical_domain, canonical_target, domain_of
from sensmail.accounts.errors import InvalidValue

hostile = st.text() | st.text(alphabet="aA0.@+-_ \t\n\0'\"/\\%$İıßſ가가。．＠\u202e\ud800", max_size=40)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Gildong.Hong@Example.KR", "gildong.hong@example.kr"),
        ("a@센스메일.한국", "a@xn--h32b99j44a07j.xn--3e0b707e"),
        (unicodedata.normalize("NFD", "a@센스메일.한국"), "a@xn--h32b99j44a07j.xn--3e0b707e"),
        ("_x-1@a-b.example.kr", "_x-1@a-b.example.kr"),
        ("a@ｅｘａｍｐｌｅ.kr", "a@example.kr"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert canonical_address(text) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no name, no @ or no domain"),
        ("@example.kr", "has no name"),
        ("hong", "has no name, no @"),
        ("hong@", "no domain"),
        ("a@b", "two labels"),
        ("a@example.kr.", "no dot at the end"),
        ("a@127.0.0.1", "ends in a number"),
        ("a@exa mple.kr", "is not a domain name"),
        ("a@exam_ple.kr", "is not a domain name"),
        ("a@-x.kr", "is not a domain name"),
        ("a+b@example.kr", "'\\+' is kept for address details"),
        ("a..b@example.kr", "single dots"),
        (".a@example.kr", "before the @"),
        ("a.@example.kr", "before the @"),
        ("-rf@example.kr", "before the @"),
        ("../../etc@example.kr", "before the @"),
        ("a@b@example.kr", "before the @"),
        ('"a b"@example.kr', "before the @"),
        ("홍길동@example.kr", "before the @"),
        ("a\n@example.kr", "before the @"),
        ("a" * 65 + "@example.kr", "at most 64 characters"),
        ("a@" + ".".join(["b" * 60] * 5), "is not a domain name|at most 253"),
        ("a" * 60 + "@" + ".".join(["b" * 60] * 4), "at most 254 characters in all|is not"),
    ],
)
def test_refusals_say_why(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        canonical_address(text)


def test_targets_may_have_signs_and_keep_case() -> None:
    assert canonical_target("Hong+list@Example.KR") == "Hong+list@example.kr"
    with pytest.raises(InvalidValue, match="quoted or non-ASCII"):
        canonical_target('"a,b"@example.kr')


@given(hostile)
@example("a@\u0130.kr")
@example("K@example.kr")  # the Kelvin sign becomes k in lower case
def test_any_text_is_canonical_or_refused(text: str) -> None:
    for function in (canonical_address, canonical_target):
        try:
            result = function(text)
        except InvalidValue:
            continue
        assert function(result) == result
        assert result.isascii()
        assert result.count("@") == 1
        assert canonical_domain(domain_of(result)) == domain_of(result)
        assert not set(result) & set(" \t\r\n\0'\"/\\,;:<>()[]") - set("'/")


@given(hostile)
def test_hosted_addresses_hold_only_harmless_characters(text: str) -> None:
    try:
        result = canonical_address(text)
    except InvalidValue:
        return
    assert set(result) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-@")
    assert not result.startswith(("-", "."))
    assert ".." not in result
