"""A decoder for everything in docs/formats.md, written from that document alone. Imports nothing of sensmail.

Its cryptography is PyCryptodome, so that it is a second implementation all the way down.
"""

from __future__ import annotations

import struct

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF


class Refused(Exception):
    """The bytes are not what the document describes."""


def derive(key: bytes, info: bytes) -> bytes:
    result = HKDF(key, 32, b"", SHA256, context=info)
    assert isinstance(result, bytes)
    return result


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(sealed) < 16:
        raise Refused("no room for a tag")
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=16)
    cipher.update(bound)
    try:
        return cipher.decrypt_and_verify(sealed[:-16], sealed[-16:])
    except ValueError:
        raise Refused("authentication failed") from None


def row_key(columns: list[tuple[str, str]]) -> bytes:
    """`columns` are (PostgreSQL type, value as text; bytea in hexadecimal)."""
    result = struct.pack(">B", len(columns))
    for kind, value in columns:
        if kind == "uuid":
            number, body = 1, bytes.fromhex(value.replace("-", ""))
        elif kind in {"smallint", "integer", "bigint"}:
            number, body = 2, struct.pack(">q", int(value))
        elif kind in {"text", "varchar"}:
            number, body = 3, value.encode("utf-8")
        elif kind == "bytea":
            number, body = 4, bytes.fromhex(value)
        else:
            raise Refused(f"type {kind}")
        result += struct.pack(">BH", number, len(body)) + body
    return result


def open_envelope(
    envelope: bytes, subject_key: bytes, key_version: int, subject: bytes, purpose: str, field_number: int, row: bytes
) -> bytes:
    if not envelope or envelope[0] != 1:
        raise Refused("version")
    if len(envelope) < 34:
        raise Refused("length")
    _, algorithm, version = struct.unpack_from(">BBI", envelope)
    if algorithm != 1:
        raise Refused("algorithm")
    if version == 0 or version != key_version:
        raise Refused("key version")
    header, nonce = envelope[:18], envelope[6:18]
    field_key = derive(subject_key, b"sensmail field key v1" + b"\x00" + bytes([algorithm]) + purpose.encode("ascii"))
    bound = header + struct.pack(">I", field_number)
    bound += struct.pack(">H", len(row)) + row + struct.pack(">H", len(subject)) + subject
    return gcm_open(field_key, nonce, envelope[18:], bound)
