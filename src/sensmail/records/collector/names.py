"""Which names a record may hold: those that are known. What else was typed as a name may be a password.

An unknown name is kept as a keyed digest only (HMAC-SHA-256 under a key that was made on this host), so that tries with
the same name can be told to be the same, and nobody without the key can try names against it.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
import unicodedata
from collections.abc import Callable, Mapping
from uuid import UUID

from sensmail.records.collector.found import Kind

UNKNOWN = "unknown:"
_HEX = 32  # 128 bits of the digest
_MAX_ROLE = 63  # bytes of a name in PostgreSQL


def on_this_host(name: str) -> bool:
    """Whether the host has an account of this name."""
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True


class Names:
    """Tells known names from others."""

    def __init__(self, key: bytes, on_host: Callable[[str], bool] = on_this_host) -> None:
        self._key, self._on_host = key, on_host

    def digest(self, data: bytes) -> str:
        """A keyed digest in hexadecimal."""
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()[:_HEX]

    def account(self, name: str, kind: Kind, people: Mapping[str, UUID]) -> tuple[str, UUID | None]:
        """What a record calls an account, and whose it is.

        Args:
            name: as a line has it.
            kind: what sort of name it is.
            people: ids by mail address, of those that `addresses` named and the database knows.
        """
        if kind is Kind.NOBODY or not name:
            return "", None
        if kind is Kind.MAIL:
            for each in addresses(name):
                if each in people:
                    return each, people[each]
        if (kind is Kind.HOST and self._on_host(name)) or (kind is Kind.ROLE and len(name.encode()) <= _MAX_ROLE):
            return name, None
        plain = unicodedata.normalize("NFC", name).casefold().encode(errors="replace")
        return UNKNOWN + self.digest(plain), None


def addresses(name: str) -> list[str]:
    """The addresses that a name may stand for: as it is, and without what follows a plus sign."""
    whole = name.strip().lower()
    local, at, domain = whole.rpartition("@")
    plain = local.partition("+")[0] + at + domain
    return [whole] if plain == whole else [whole, plain]
