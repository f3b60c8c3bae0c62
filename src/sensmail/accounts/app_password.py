"""App passwords: what mail programs log in with, one per device.

Shown once as `<selector>-<secret>`. The selector is public and finds the row; the secret has at least 128 random
bits, so a fast salted hash that Dovecot knows ({SSHA512}) is enough: there is nothing to guess.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

from sensmail.accounts.errors import InvalidValue

SCOPES = ("imap", "pop3", "sieve", "smtp")
DEFAULT_SCOPE = ("imap", "smtp")

_ALPHABET = string.digits + string.ascii_lowercase
_SELECTOR_CHARACTERS = 8
_SECRET_CHARACTERS = 26  # 26 × log2(36) = 134 bits
_SCHEME = "{SSHA512}"
_SALT_BYTES = 16
_TOKEN = re.compile(rf"([0-9a-z]{{{_SELECTOR_CHARACTERS}}})-[0-9a-z]+")
_MAX_LABEL = 64


@dataclass(frozen=True)
class AppPassword:
    """A new app password: `token` is for its owner's eyes and is kept nowhere."""

    selector: str
    token: str = field(repr=False)
    hash: str = field(repr=False)


def generate() -> AppPassword:
    """Make a new app password from the system's random source."""
    selector = _random(_SELECTOR_CHARACTERS)
    token = f"{selector}-{_random(_SECRET_CHARACTERS)}"
    return AppPassword(selector, token, digest(token))


def digest(token: str) -> str:
    """`{SSHA512}` + base64(SHA-512(token + salt) + salt), the form that Dovecot verifies."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return _SCHEME + base64.b64encode(hashlib.sha512(token.encode() + salt).digest() + salt).decode("ascii")


def verify(stored: str, token: str) -> bool:
    """Whether `token` belongs to `stored`, compared in constant time. Never raises on hostile input."""
    if not stored.startswith(_SCHEME):
        return False
    try:
        raw = base64.b64decode(stored.removeprefix(_SCHEME), validate=True)
    except (binascii.Error, ValueError):
        return False
    size = hashlib.sha512().digest_size
    expected, salt = raw[:size], raw[size:]
    given = hashlib.sha512(token.encode("utf-8", "surrogatepass") + salt).digest()
    return bool(salt) and hmac.compare_digest(expected, given)


def selector_of(token: str) -> str | None:
    """The selector inside a token; None when the text has not the form of one."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def check_selector(text: str) -> str:
    """A selector as it is stored.

    Raises:
        InvalidValue: not eight digits or small letters. A whole token is refused without repeating it.
    """
    if selector_of(text):
        raise InvalidValue("give only the first 8 characters (the selector), never the whole app password")
    if not re.fullmatch(rf"[0-9a-z]{{{_SELECTOR_CHARACTERS}}}", text):
        raise InvalidValue(f"selector {text!r}: 8 digits or small letters, as `sensmail account list` shows them")
    return text


def check_label(text: str) -> str:
    """The name of a device.

    Raises:
        InvalidValue: empty, too long, or not printable.
    """
    label = text.strip()
    if not 1 <= len(label) <= _MAX_LABEL or not label.isprintable():
        raise InvalidValue(f"app password label {text!r}: 1 to {_MAX_LABEL} printable characters, for example 'phone'")
    return label


def check_scope(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Protocols that an app password opens, in the order of SCOPES, each once.

    Raises:
        InvalidValue: none, or one that is not known.
    """
    unknown = sorted(set(names) - set(SCOPES))
    if unknown or not names:
        raise InvalidValue(f"app password scope {list(names)!r}: choose one or more of {', '.join(SCOPES)}")
    return tuple(name for name in SCOPES if name in names)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
