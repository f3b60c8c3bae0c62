"""The account password: one rule, one hash. It opens the portal, never IMAP or SMTP.

Text is normalised to NFC first, because macOS sends Hangul decomposed and other systems composed.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import argon2

from sensmail.accounts.errors import InvalidValue

MAX_CHARACTERS = 256  # a bound on the work that a stranger can ask for

_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)  # memory in KiB: 64 MiB


@dataclass(frozen=True)
class Rule:
    """What a new password must be. KISA's guide: at least 10 characters of two kinds."""

    min_characters: int = 10
    min_kinds: int = 2
    max_common_name: int = 3  # a name before the @ this short may occur in the password by chance


RULE = Rule()


def check(password: str, address: str, rule: Rule = RULE) -> None:
    """Refuse a password that breaks the rule. The message never repeats the password.

    Raises:
        InvalidValue: too short, too long, too uniform, unprintable, or built from the address.
    """
    text = _normal(password)
    if not rule.min_characters <= len(text) <= MAX_CHARACTERS:
        raise InvalidValue(
            f"the password of {address} has {len(text)} characters; it must have "
            f"{rule.min_characters} to {MAX_CHARACTERS}"
        )
    if not text.isprintable():
        raise InvalidValue(f"the password of {address} holds a character that cannot be typed everywhere; leave it out")
    if _kinds(text) < rule.min_kinds:
        raise InvalidValue(
            f"the password of {address} must mix {rule.min_kinds} kinds of characters: "
            "small letters or other script, capital letters, digits, signs"
        )
    local = address.partition("@")[0]
    if len(local) > rule.max_common_name and local in text.lower():
        raise InvalidValue(f"the password of {address} must not contain the name before the @")


def digest(password: str) -> str:
    """One-way form of a password: argon2id, 64 MiB, three passes, one lane, random salt."""
    return _HASHER.hash(_bytes(password))


def verify(stored: str | None, password: str) -> bool:
    """Whether `password` belongs to `stored`.

    Takes as long for an account without a password (or without a row) as for one with: no answer tells them apart.
    """
    acceptable = stored is not None and len(password) <= 4 * MAX_CHARACTERS  # decomposed text is up to 4 times longer
    try:
        return _HASHER.verify(stored or _decoy(), _bytes(password if acceptable else "")) and acceptable
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def outdated(stored: str) -> bool:
    """Whether `stored` was made with other parameters than those in force; renew it at the next login."""
    return _HASHER.check_needs_rehash(stored)


@cache
def _decoy() -> str:
    return _HASHER.hash(b"no account has this password")


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def _bytes(password: str) -> bytes:
    """UTF-8 of the normal form; a lone surrogate, which no accepted password holds, must not raise."""
    return _normal(password).encode("utf-8", "surrogatepass")


def _kinds(text: str) -> int:
    small = any(character.isalpha() and not character.isupper() for character in text)
    capital = any(character.isupper() for character in text)
    digit = any(character.isdigit() for character in text)
    sign = any(not character.isalnum() for character in text)
    return small + capital + digit + sign
