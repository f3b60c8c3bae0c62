"""Recovery by any two of three officers, without the root key.

Each officer makes an own X25519 key offline and hands in only the public half. The epoch key is split once for every
pair of officers: one half is random, the other is the key exclusive-or that half, and each half is encrypted by HPKE
(RFC 9180) to one of the two. One officer's halves are uniform noise; two officers' halves give the key.

This replaces Shamir's scheme on purpose. For two of three the pairs are as small, they need only HPKE of `cryptography`
and an exclusive-or, no dealer ever sees a whole recovery key, a drill rebuilds none, and an officer is replaced by a
new public key. The Python packages for Shamir were looked at: shamir-mnemonic warns against use with real secrets,
PyCryptodome splits 16 bytes only, the others are unkept or compute in slow, branching integer arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sensmail.keys.errors import RecoveryError
from sensmail.keys.material import KEY_BYTES

OFFICERS = 3
Pair = tuple[int, int]
PAIRS: tuple[Pair, ...] = ((0, 1), (0, 2), (1, 2))
_PUBLIC_BYTES = 32
_HALF_BYTES = 80  # 32 encapsulated key, 32 ciphertext, 16 tag
RECOVERY_BYTES = OFFICERS * _PUBLIC_BYTES + 2 * len(PAIRS) * _HALF_BYTES
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True)
class Officers:
    """The public keys of the three officers, in a fixed order."""

    keys: tuple[bytes, bytes, bytes]  # raw X25519 public keys

    def __post_init__(self) -> None:
        if len(set(self.keys)) != OFFICERS or any(len(each) != _PUBLIC_BYTES for each in self.keys):
            raise RecoveryError(f"recovery needs {OFFICERS} different X25519 public keys of {_PUBLIC_BYTES} bytes")

    @classmethod
    def of(cls, keys: Sequence[X25519PublicKey]) -> Officers:
        """From key objects."""
        first, second, third = (each.public_bytes_raw() for each in keys)
        return cls((first, second, third))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The recovery part of a slot: three public keys, then two halves for each pair."""
        parts = list(self.keys)
        for pair in PAIRS:
            half = os.urandom(KEY_BYTES)
            for officer, share in zip(pair, (half, xor(half, key)), strict=True):
                public = X25519PublicKey.from_public_bytes(self.keys[officer])
                parts.append(_SUITE.encrypt(share, public, info=_info(pair, officer, self, context)))
        return b"".join(parts)


def officers_of(recovery: bytes) -> Officers | None:
    """The officers that a recovery part is for; None when a slot has none.

    Raises:
        RecoveryError: it has another length.
    """
    if not recovery:
        return None
    if len(recovery) != RECOVERY_BYTES:
        raise RecoveryError(f"a recovery part has {RECOVERY_BYTES} bytes; found {len(recovery)}")
    first, second, third = (
        recovery[at : at + _PUBLIC_BYTES] for at in range(0, OFFICERS * _PUBLIC_BYTES, _PUBLIC_BYTES)
    )
    return Officers((first, second, third))


def halves(private: X25519PrivateKey, recovery: bytes, context: bytes) -> tuple[int, dict[Pair, bytes]]:
    """Which of the three an officer is, and that officer's half of each pair.

    Raises:
        RecoveryError: the key is none of the three, or the recovery part was changed or belongs to another epoch.
    """
    officers = officers_of(recovery)
    public = private.public_key().public_bytes_raw()
    if officers is None or public not in officers.keys:
        raise RecoveryError(f"officer key {public.hex()[:16]}… is none of those this copy was encrypted to")
    officer = officers.keys.index(public)
    found = {}
    for number, pair in enumerate(PAIRS):
        if officer in pair:
            start = OFFICERS * _PUBLIC_BYTES + (2 * number + pair.index(officer)) * _HALF_BYTES
            try:
                half = _SUITE.decrypt(
                    recovery[start : start + _HALF_BYTES], private, _info(pair, officer, officers, context)
                )
            except (InvalidTag, ValueError):
                raise RecoveryError("the recovery part was changed, or belongs to another key file or epoch") from None
            found[pair] = half
    return officer, found


def xor(one: bytes, two: bytes) -> bytes:
    """Of two halves the key, of the key and one half the other."""
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def _info(pair: Pair, officer: int, officers: Officers, context: bytes) -> bytes:
    """All three public keys are bound: where one was changed, no half of the other two opens."""
    return b"sensmail recovery v2\0" + bytes([*pair, officer]) + b"".join(officers.keys) + context
