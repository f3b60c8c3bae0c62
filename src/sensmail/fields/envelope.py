"""Envelope v1: one sealed value, bound to its place. The exact bytes are in docs/formats.md.

    version 1 | algorithm 1 | key version 4 | nonce 12 | ciphertext | tag 16          (lengths in bytes)

Moving an envelope to another row, field, subject or purpose, or changing any bit of it, makes it unopenable;
renaming a table or a column changes nothing. An older envelope of the same place under the same key opens: replay
in its own row is not stopped here.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sensmail.fields.errors import Altered, InvalidPlace, TooLong, Truncated, UnknownAlgorithm, UnknownVersion, WrongKey
from sensmail.fields.place import Place
from sensmail.keys.material import NONCE_BYTES, TAG_BYTES, SubjectKey, derive

VERSION = 1
MAX_PLAINTEXT = 2**24  # bytes: a bound on the memory that a stranger's input can ask for, far below GCM's limit
_HEADER = struct.Struct(f">BBI{NONCE_BYTES}s")
_HEAD = struct.Struct(">BBI")  # the same for all values of one key
OVERHEAD = _HEADER.size + TAG_BYTES
_PURPOSE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Cipher(Protocol):
    """Authenticated encryption with a 12-byte nonce and a 16-byte tag; `decrypt` raises InvalidTag."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Ciphertext followed by the tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """The plaintext, once the tag has been checked in constant time."""


@dataclass(frozen=True)
class Algorithm:
    """An entry of the registry; `number` stands in every envelope for good."""

    number: int
    name: str
    cipher: Callable[[bytes], Cipher]  # takes a 32-byte key


AES_256_GCM = Algorithm(1, "AES-256-GCM", AESGCM)  # SP 800-38D
# Number 2 is kept for ARIA-256-GCM (RFC 9367), which `cryptography` does not offer yet.
ALGORITHMS = {each.number: each for each in (AES_256_GCM,)}


@dataclass(frozen=True)
class Header:
    """What an envelope says of itself. Read from untrusted bytes: true only once the envelope has opened."""

    algorithm: Algorithm
    key_version: int
    nonce: bytes


def parse(envelope: bytes) -> Header:
    """Read the header; needs no key.

    Raises:
        Truncated, UnknownVersion, UnknownAlgorithm, WrongKey (key version 0, which no key has).
    """
    if envelope and envelope[0] != VERSION:
        raise UnknownVersion(f"envelope version {envelope[0]} is not known; this program reads version {VERSION}")
    if len(envelope) < OVERHEAD:
        raise Truncated(f"an envelope has at least {OVERHEAD} bytes; found {len(envelope)}")
    _, number, key_version, nonce = _HEADER.unpack_from(envelope)
    if number not in ALGORITHMS:
        known = ", ".join(f"{each.number} ({each.name})" for each in ALGORITHMS.values())
        raise UnknownAlgorithm(f"envelope algorithm {number} is not known; known are {known}")
    if key_version == 0:
        raise WrongKey("envelope names key version 0; versions count from 1")
    return Header(ALGORITHMS[number], key_version, nonce)


@dataclass(frozen=True)
class FieldKey:
    """The key of one subject for one purpose, ready for use; make it once for many values."""

    subject: bytes
    version: int
    algorithm: Algorithm
    head: bytes  # how each of its envelopes begins: envelope version, algorithm, key version
    _tail: bytes = field(repr=False)  # how the bound bytes end: length-prefixed subject
    _cipher: Cipher = field(repr=False, compare=False)

    @classmethod
    def make(cls, key: SubjectKey, purpose: str, algorithm: Algorithm = AES_256_GCM) -> FieldKey:
        """HKDF-SHA256 of the subject key; `purpose` is part of the format, so a renamed purpose opens nothing.

        Raises:
            InvalidPlace: a purpose that is not a lower-case name of at most 64 characters.
            UnknownAlgorithm: one that is not in the registry.
        """
        if ALGORITHMS.get(algorithm.number) is not algorithm:
            raise UnknownAlgorithm(f"algorithm {algorithm.number} ({algorithm.name}) is not in the registry")
        cipher = algorithm.cipher(derive(key.material, _info(algorithm.number, purpose)))
        head = _HEAD.pack(VERSION, algorithm.number, key.version)
        return cls(key.subject, key.version, algorithm, head, struct.pack(">H", len(key.subject)) + key.subject, cipher)

    def seal(self, place: Place, plaintext: bytes, fresh: Iterator[bytes] | None = None) -> bytes:
        """Seal one value for one place, under a fresh nonce: from `nonces`, where many are sealed.

        Raises:
            TooLong, InvalidPlace.
        """
        if len(plaintext) > MAX_PLAINTEXT:
            raise TooLong(f"a sealed value has at most {MAX_PLAINTEXT} bytes; found {len(plaintext)}")
        nonce = os.urandom(NONCE_BYTES) if fresh is None else next(fresh)
        header = self.head + nonce
        return header + self._cipher.encrypt(nonce, plaintext, header + place.bound() + self._tail)

    def open(self, place: Place, envelope: bytes) -> bytes:
        """Open a value found at one place.

        Raises:
            Truncated, UnknownVersion, UnknownAlgorithm, TooLong, InvalidPlace: refused before any key is used.
            WrongKey: sealed under another version or algorithm than this key's.
            Altered: changed, moved from another row, field, subject or purpose, or sealed under another key.
        """
        if envelope[: _HEAD.size] != self.head or not OVERHEAD <= len(envelope) <= MAX_PLAINTEXT + OVERHEAD:
            self._refuse(envelope)
        header = envelope[: _HEADER.size]
        try:
            return self._cipher.decrypt(
                header[_HEAD.size :], envelope[_HEADER.size :], header + place.bound() + self._tail
            )
        except InvalidTag:
            raise Altered(
                f"a value of field {place.field_number} does not open: it was changed, or moved here from another "
                "row, field, subject or purpose, or sealed under another key"
            ) from None

    def _refuse(self, envelope: bytes) -> NoReturn:
        """Name what keeps an envelope from being tried with this key."""
        header = parse(envelope)
        if len(envelope) > MAX_PLAINTEXT + OVERHEAD:
            raise TooLong(f"an envelope has at most {MAX_PLAINTEXT + OVERHEAD} bytes; found {len(envelope)}")
        found, given = (header.key_version, header.algorithm.name), (self.version, self.algorithm.name)
        raise WrongKey(f"sealed under key version {found[0]} by {found[1]}, but the key is {given[0]}, {given[1]}")


def nonces(at_once: int) -> Iterator[bytes]:
    """Nonces without end, from the operating system, drawn so many at once. Each is given out once."""
    while True:
        block = os.urandom(NONCE_BYTES * max(at_once, 1))
        for at in range(0, len(block), NONCE_BYTES):
            yield block[at : at + NONCE_BYTES]


@lru_cache
def _info(algorithm: int, purpose: str) -> bytes:
    if not _PURPOSE.fullmatch(purpose):
        raise InvalidPlace(f"purpose {purpose!r} is not of the form {_PURPOSE.pattern}")
    return b"sensmail field key v1\0" + bytes([algorithm]) + purpose.encode()
