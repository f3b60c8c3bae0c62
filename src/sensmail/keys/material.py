"""Key material and how keys are made from keys. Nothing here reads or writes a file.

Python cannot promise that a key leaves memory: `bytes` are immutable, may be copied by the interpreter and are
freed without being overwritten. Erasure from memory is best effort: references are dropped and the process that
holds keys runs without swap, without core dumps and alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
SUBJECT_BYTES = 16
NONCE_BYTES = 12  # SP 800-38D section 8.2.2: 96 random bits, at most 2**32 messages under one key
TAG_BYTES = 16
_AT_ONCE = 2**20  # bytes; less than a millisecond


class KeyState(IntEnum):
    """What a version of a subject's key may still do; the numbers stand in the key file."""

    ACTIVE = 1  # seals and opens
    RESTORE_ONLY = 2  # opens nothing online; kept until the last backup that needs it expires
    DESTROYED = 3  # only its number is left, so that it is never used again
    REPLACED = 4  # opens, seals nothing; until every value of it has been sealed anew


@dataclass(frozen=True)
class SubjectKey:
    """One version of the key of one subject. `repr` and comparison errors never show the material."""

    subject: bytes
    version: int
    material: bytes = field(repr=False)
    state: KeyState = KeyState.ACTIVE

    def __post_init__(self) -> None:
        if len(self.subject) != SUBJECT_BYTES or len(self.material) != KEY_BYTES or not 1 <= self.version < 2**32:
            raise ValueError(
                f"a subject key is a {SUBJECT_BYTES}-byte subject id, a version from 1 to 2**32 - 1 and "
                f"{KEY_BYTES} bytes; found {len(self.subject)}, {self.version} and {len(self.material)}"
            )


def derive(key: bytes, info: bytes) -> bytes:
    """32 bytes for one use of a uniform 32-byte key: HKDF-SHA256 without salt (RFC 5869 sections 2.2, 3.1)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


@dataclass(frozen=True)
class Box:
    """AES-256-GCM under one derived key; a sealed value is nonce, ciphertext, tag."""

    key: bytes = field(repr=False)

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self.key)

    def seal(self, plaintext: bytes | memoryview, bound: bytes) -> bytes:
        """Encrypt under a fresh random nonce, bound to public bytes that the reader must know."""
        nonce = os.urandom(NONCE_BYTES)
        if len(plaintext) <= _AT_ONCE:
            return nonce + self._cipher.encrypt(nonce, plaintext, bound)
        encryptor = Cipher(AES256(self.key), GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(bound)
        parts = [encryptor.update(each) for each in _cut(plaintext)]
        return b"".join([nonce, *parts, encryptor.finalize(), encryptor.tag])

    def open(self, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """Decrypt what `seal` returned.

        Raises:
            cryptography.exceptions.InvalidTag: altered, other bound bytes, or another key.
        """
        nonce = bytes(sealed[:NONCE_BYTES])
        if len(sealed) <= _AT_ONCE:
            return self._cipher.decrypt(nonce, sealed[NONCE_BYTES:], bound)
        decryptor = Cipher(AES256(self.key), GCM(nonce, bytes(sealed[-TAG_BYTES:]))).decryptor()
        decryptor.authenticate_additional_data(bound)
        parts = [decryptor.update(each) for each in _cut(memoryview(sealed)[NONCE_BYTES:-TAG_BYTES])]
        return b"".join([*parts, decryptor.finalize()])  # finalize checks the tag before anything is returned


def _cut(data: bytes | memoryview) -> Iterator[memoryview]:
    """Pieces, between which other threads get their turn: one call of the library keeps them all waiting."""
    view = memoryview(data)
    return (view[at : at + _AT_ONCE] for at in range(0, len(view), _AT_ONCE))
