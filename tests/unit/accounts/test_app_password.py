"""App passwords: enough randomness, the form that Dovecot verifies, and hostile input that opens nothing."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.accounts import app_password
from sensmail.accounts.errors import InvalidValue

any_text = st.text(alphabet=st.characters(exclude_categories=[]))


def test_token_has_a_public_selector_and_128_secret_bits() -> None:
    new = app_password.generate()
    selector, secret = new.token.split("-")
    assert selector == new.selector
    assert re.fullmatch(r"[0-9a-z]{8}", selector)
    assert re.fullmatch(r"[0-9a-z]+", secret)
    assert len(secret) * math.log2(36) >= 128
    assert app_password.selector_of(new.token) == selector


def test_tokens_differ_and_never_show_in_a_representation() -> None:
    made = [app_password.generate() for _ in range(200)]
    assert len({new.token for new in made}) == len({new.selector for new in made}) == 200
    assert made[0].token not in repr(made[0])


def test_hash_is_salted_sha512_of_the_whole_token() -> None:
    new = app_password.generate()
    raw = base64.b64decode(new.hash.removeprefix("{SSHA512}"))
    digest, salt = raw[:64], raw[64:]
    assert len(salt) == 16
    assert digest == hashlib.sha512(new.token.encode() + salt).digest()
    assert app_password.digest(new.token) != new.hash


@pytest.mark.skipif(not shutil.which("doveadm"), reason="no Dovecot here; the mail tests log in with real ones")
def test_dovecot_agrees() -> None:
    new = app_password.generate()
    subprocess.run(["doveadm", "pw", "-t", new.hash, "-p", new.token], check=True)


def test_verify() -> None:
    new = app_password.generate()
    assert app_password.verify(new.hash, new.token)
    assert not app_password.verify(new.hash, new.token[:-1])
    assert not app_password.verify(new.hash, "")
    assert not app_password.verify("{SSHA512}", "")
    unsalted = "{SSHA512}" + base64.b64encode(hashlib.sha512(b"x").digest()).decode()
    assert not app_password.verify(unsalted, "x")


@given(any_text, any_text)
def test_hostile_text_opens_nothing(stored: str, token: str) -> None:
    assert not app_password.verify(stored, token)
    assert not app_password.verify("{SSHA512}" + stored, token)
    assert not app_password.verify(app_password.digest("abcdefgh-secret"), token)


@given(any_text)
def test_selector_is_found_only_in_well_formed_tokens(text: str) -> None:
    selector = app_password.selector_of(text)
    assert (selector is None) == (re.fullmatch(r"[0-9a-z]{8}-[0-9a-z]+", text, re.ASCII) is None)


def test_a_whole_token_as_selector_is_refused_without_repeating_it() -> None:
    new = app_password.generate()
    with pytest.raises(InvalidValue, match="never the whole app password") as caught:
        app_password.check_selector(new.token)
    assert new.token.split("-")[1] not in str(caught.value)
    assert app_password.check_selector(new.selector) == new.selector
    with pytest.raises(InvalidValue, match="8 digits or small letters"):
        app_password.check_selector("ABCDEFGH")


def test_scope_and_label() -> None:
    assert app_password.check_scope(["smtp", "imap", "smtp"]) == ("imap", "smtp")
    for wrong in ([], ["imap", "root"]):
        with pytest.raises(InvalidValue, match="choose one or more of imap, pop3, sieve, smtp"):
            app_password.check_scope(wrong)
    assert app_password.check_label(" 전화기 ") == "전화기"
    for label in ("", " ", "x" * 65, "a\nb"):
        with pytest.raises(InvalidValue, match="1 to 64 printable"):
            app_password.check_label(label)
