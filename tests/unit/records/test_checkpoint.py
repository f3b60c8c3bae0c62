"""Checkpoints: two signatures, an origin that names the first key, and a chain that only endorsed keys continue."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.records import checkpoint, note
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.errors import Malformed, NotProven
from sensmail.records.note import Note
from unit.records.conftest import Signing


def test_a_checkpoint_is_read_back_and_verified(signing: Signing) -> None:
    body = signing.body(size=7)
    signed = note.parse(signing.signed(body).to_bytes())
    assert checkpoint.verify(signed, signing.log_key) == body
    assert Origin.from_text(body.origin) == Origin("mail.example.go.kr/records", "access", 1, Origin.of(
        "x", "access", 1, signing.public[0]).first)  # fmt: skip
    checkpoint.begin(body)


@pytest.mark.parametrize("missing", [0, 1])
def test_each_of_the_two_signatures_is_needed(signing: Signing, missing: int) -> None:
    signed = signing.signed(signing.body())
    kept = tuple(each for at, each in enumerate(signed.signatures) if at != missing)
    with pytest.raises(NotProven, match="no signature"):
        checkpoint.verify(Note(signed.text, kept), signing.log_key)


def test_the_stable_key_cannot_stand_in_for_the_evolving_one(signing: Signing) -> None:
    body = replace(signing.body(), key=signing.log_key.public)
    signed = note.sign(body.text(), body.origin, [signing.stable])
    with pytest.raises(NotProven, match="three"):
        checkpoint.verify(signed, signing.log_key)


def test_a_checkpoint_of_another_log_is_refused(signing: Signing) -> None:
    other = Signing()
    with pytest.raises(NotProven, match="the key is for"):
        checkpoint.verify(other.signed(other.body()), signing.log_key)


def test_a_log_begins_with_the_key_that_its_origin_names(signing: Signing) -> None:
    with pytest.raises(NotProven, match="begins"):
        checkpoint.begin(signing.body(key=1))


def test_the_chain_goes_on_with_the_same_or_the_endorsed_key(signing: Signing) -> None:
    first = signing.body(size=3)
    for after in (first, signing.body(4), signing.body(4, key=1), replace(first, key=first.next, next=b"n" * 32)):
        checkpoint.follow(first, after)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": 2}, "not endorsed"), ({"size": 2}, "gone or replaced"), ({"root": b"x" * 32}, "gone or replaced"),
        ({"time": 1_763_999_999}, "is before"), ({"next": b"n" * 32}, "two different"),
        ({"origin": "other/access/1/" + "0" * 32}, "another log"),
    ],
)  # fmt: skip
def test_what_may_not_follow(signing: Signing, change: dict[str, object], says: str) -> None:
    first = signing.body(size=3)
    key = change.pop("key", 0)
    after = replace(signing.body(size=3, key=key), **change)  # type: ignore[arg-type]
    with pytest.raises(NotProven, match=says):
        checkpoint.follow(first, after)


def test_an_earlier_key_may_not_come_back(signing: Signing) -> None:
    with pytest.raises(NotProven, match="not endorsed"):
        checkpoint.follow(signing.body(key=1), signing.body(size=2, key=0))


BODY = Signing().body(size=12).text()


@pytest.mark.parametrize(
    "text",
    [
        BODY[:-1], BODY + "more\n", BODY.replace("time ", "time  "), BODY.replace("\n12\n", "\n012\n"),
        BODY.replace("\n12\n", "\n-1\n"), BODY.replace("\n12\n", "\n9223372036854775808\n"),
        BODY.replace("\n12\n", "\n１２\n"), BODY.replace("next ", "nexu "), BODY.replace("key ", "key"), "\n" + BODY,
        BODY.replace("time", "key", 1), BODY[BODY.index("\n") :], BODY.replace("=\ntime", "\ntime"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        checkpoint.parse(text)


@given(st.integers(0, len(BODY)), st.integers(0, 3), st.text(max_size=3))
def test_changed_text_is_refused_or_read_as_it_stands(at: int, cut: int, put: str) -> None:
    text = BODY[:at] + put + BODY[at + cut :]
    with suppress(Malformed):
        assert checkpoint.parse(text).text() == text


@pytest.mark.parametrize("log", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\tb"])
def test_a_log_name_that_cannot_be_a_key_name_is_refused(log: str) -> None:
    with pytest.raises(Malformed):
        Origin.of(log, "access", 1, bytes(32))


@given(st.text(max_size=90))
def test_any_origin_is_read_or_refused(text: str) -> None:
    with suppress(Malformed):
        assert Origin.from_text(text).to_text() == text


def test_only_the_named_key_signs(signing: Signing) -> None:
    with pytest.raises(ValueError, match="names"):
        signing.body().sign(signing.stable, signing.keys[1])
    assert isinstance(signing.body(), Checkpoint)
