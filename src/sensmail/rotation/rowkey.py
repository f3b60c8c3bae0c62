"""Primary keys between the wire, an envelope's row key, a statement and an eye."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from uuid import UUID

from sensmail.rotation.model import KeyColumn

UUID_KIND, INTEGER, TEXT, BYTES = 1, 2, 3, 4
CASTS = {UUID_KIND: "uuid", INTEGER: "bigint", TEXT: "text", BYTES: "bytea"}


def packer(columns: Sequence[KeyColumn]) -> Callable[[tuple[bytes, ...]], bytes]:
    """A function from a key on the wire to its row key: PostgreSQL's binary form is the canonical form of each type.

    The result equals `fields.row_key` of the same values.
    """
    count, kinds = bytes([len(columns)]), [column.kind for column in columns]
    if len(kinds) == 1 and kinds[0] in (UUID_KIND, INTEGER):  # fixed length: nearly every table
        head = count + struct.pack(">BH", kinds[0], 16 if kinds[0] == UUID_KIND else 8)
        return lambda key: head + key[0]
    return lambda key: (
        count + b"".join(struct.pack(">BH", kind, len(part)) + part for kind, part in zip(kinds, key, strict=True))
    )


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
