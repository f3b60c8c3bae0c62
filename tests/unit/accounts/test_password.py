"""The account password: rule, hash, verification; hostile text never raises anything but a refusal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensmail.accounts import password
from sensmail.accounts.errors import InvalidValue

ADDRESS = "gildong@example.kr"
GOOD = "가나다라 마바사 12"


@pytest.fixture(scope="module")
def stored() -> str:
    return password.digest(GOOD)


def test_hash_has_the_promised_parameters(stored: str) -> None:
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert password.digest(GOOD) != stored
    assert not password.outdated(stored)
    assert password.outdated("$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")


def test_decomposed_hangul_is_the_same_password(stored: str) -> None:
    assert unicodedata.normalize("NFD", GOOD) != GOOD
    assert password.verify(stored, unicodedata.normalize("NFD", GOOD))
    assert password.verify(stored, GOOD)


@pytest.mark.parametrize("wrong", ["", GOOD + " ", GOOD[:-1], GOOD + "x" * 5000, "\0", "\ud800"])
def test_wrong_passwords(stored: str, wrong: str) -> None:
    assert not password.verify(stored, wrong)


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$", "{SSHA512}xxxx", "$argon2id$v=19$m=65536,t=3,p=1$$"])
def test_damaged_hash_opens_nothing(damaged: str) -> None:
    assert not password.verify(damaged, "")


def test_missing_account_takes_the_decoy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Spy:
        def verify(self, stored: str, text: bytes) -> bool:
            asked.append(stored)
            return True  # even a decoy that matched must not let anyone in

        def hash(self, text: bytes) -> str:
            return "decoy"

    monkeypatch.setattr(password, "_HASHER", Spy())
    password._decoy.cache_clear()
    assert not password.verify(None, GOOD)
    password._decoy.cache_clear()
    assert asked == ["decoy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc12", "has 5 characters; it must have 10 to 256"),
        ("a1" * 200, "has 400 characters"),
        ("abcdefghijkl", "mix 2 kinds"),
        ("가나다라마바사아자차", "mix 2 kinds"),
        ("abcdefghij\n1", "cannot be typed everywhere"),
        ("abcdefghij1\ud800", "cannot be typed everywhere"),
        ("my-Gildong-1234", "must not contain the name"),
    ],
)
def test_rule(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        password.check(text, ADDRESS)
    assert text not in str(caught.value)


def test_good_passwords_pass_the_rule() -> None:
    password.check(GOOD, ADDRESS)
    password.check("correct horse battery", ADDRESS)
    password.check("abc-abc-abc-1", "abc@example.kr")  # a short name may occur by chance


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=300))
@settings(max_examples=300)
def test_rule_answers_any_text(text: str) -> None:
    try:
        password.check(text, ADDRESS)
    except InvalidValue:
        return
    assert len(unicodedata.normalize("NFC", text)) >= password.RULE.min_characters


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=50))
@settings(max_examples=15, deadline=None)  # each one costs an argon2 pass
def test_verify_answers_any_text(stored_once: str, text: str) -> None:
    assert password.verify(stored_once, text) == (unicodedata.normalize("NFC", text) == GOOD)


@pytest.fixture(scope="session")
def stored_once() -> str:
    return password.digest(GOOD)
