"""Cosignatures of a witness over a checkpoint. Source: C2SP tlog-cosignature, Ed25519 (type 0x04)."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records.errors import Malformed, NotProven
from sensmail.records.note import Note, Signature, VerifierKey, public_bytes

COSIGNATURE = 0x04
_TIME = struct.Struct(">Q")
_MAX_TIME = 2**63 - 1
_LENGTH = _TIME.size + 64


def witness_key(name: str, public: bytes) -> VerifierKey:
    """The verifier key of a witness; its text form is what an auditor gets."""
    return VerifierKey(name, public, COSIGNATURE)


def cosign(text: str, name: str, key: Ed25519PrivateKey, time: int) -> Signature:
    """The signature line of a witness for the text of a checkpoint, at `time` in seconds since 1970."""
    who = witness_key(name, public_bytes(key))
    return Signature(name, who.key_id, _TIME.pack(time) + key.sign(_message(text, time)))


def cosigned(checkpoint: Note, key: VerifierKey) -> int:
    """When this witness last cosigned the checkpoint, in seconds since 1970.

    Raises:
        NotProven: it did not, or one of its signatures does not hold. Malformed: a signature of another form.
    """
    if key.kind != COSIGNATURE:
        raise Malformed(f"{key.name}: not the key of a witness (type {key.kind:#04x}, wanted {COSIGNATURE:#04x})")
    times = [_time(checkpoint.text, each, key) for each in checkpoint.of(key)]
    if not times:
        raise NotProven(f"no cosignature of {key.name}+{key.key_id.hex()}")
    return max(times)


def _time(text: str, signature: bytes, key: VerifierKey) -> int:
    if len(signature) != _LENGTH:
        raise Malformed(f"cosignature of {key.name}: {_LENGTH} bytes are expected")
    (time,) = _TIME.unpack_from(signature)
    if time > _MAX_TIME:
        raise Malformed(f"cosignature of {key.name}: its time is beyond 2^63 - 1")
    key.check(_message(text, time), signature[_TIME.size :])
    return int(time)


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
