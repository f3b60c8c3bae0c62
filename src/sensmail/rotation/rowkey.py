"""Primary keys between the wire, an envelope's row key, a statement and an eye."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

from sensmail.rotation.model import KeyColumn

UUID_KIND, INTEGER, TEXT, BYTES = 1, 2, 3, 4
CASTS = {UUID_KIND: "uuid", INTEGER: "bigint", TEXT: "text", BYTES: "bytea"}
_HEAD = struct.Struct(">BH")


def row_keys(columns: Sequence[KeyColumn], keys: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The row keys of keys on the wire, column by column: PostgreSQL's binary form is the canonical form of each type.

    Each equals `fields.row_key` of the same values.
    """
    parts = [
        [_HEAD.pack(column.kind, len(part)) + part for part in parts]
        for column, parts in zip(columns, keys, strict=True)
    ]
    count = bytes([len(columns)])
    return [count + b"".join(each) for each in zip(*parts, strict=True)]


def parameters(columns: Sequence[KeyColumn], key: tuple[bytes, ...]) -> list[UUID | int | str | bytes]:
    """The values of a key, for a statement."""
    return [_value(column.kind, part) for column, part in zip(columns, key, strict=True)]


def shown(columns: Sequence[KeyColumn], key: tuple[bytes, ...]) -> str:
    """A key for a report."""
    values = parameters(columns, key)
    return ", ".join(value.hex() if isinstance(value, bytes) else str(value) for value in values)


def _value(kind: int, part: bytes) -> UUID | int | str | bytes:
    if kind == UUID_KIND:
        return UUID(bytes=part)
    if kind == INTEGER:
        return int.from_bytes(part, signed=True)
    return part.decode() if kind == TEXT else part
