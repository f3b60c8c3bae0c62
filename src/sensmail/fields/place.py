"""Where a sealed value lives: the bytes that bind an envelope to its field, row and subject (docs/formats.md)."""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID

from sensmail.fields.errors import InvalidPlace

_UUID, _INTEGER, _TEXT, _BYTES = 1, 2, 3, 4
_FIELD = struct.Struct(">IH")


def row_key(*parts: UUID | int | str | bytes) -> bytes:
    """Canonical bytes of a primary key of one or more columns, so that 1, "1" and b"1" are three different rows.

    Raises:
        InvalidPlace: no part, more than 255, a part too long, or an integer beyond PostgreSQL's bigint.
    """
    try:
        encoded = [_part(part) for part in parts]
        if not parts:
            raise InvalidPlace("a row key has at least one column")
        return bytes([len(parts)]) + b"".join(struct.pack(">BH", kind, len(body)) + body for kind, body in encoded)
    except (struct.error, ValueError, TypeError) as error:
        raise InvalidPlace(f"this primary key cannot be a row key: {error}") from None


def _part(value: UUID | int | str | bytes) -> tuple[int, bytes]:
    if isinstance(value, UUID):
        return _UUID, value.bytes
    if isinstance(value, int) and not isinstance(value, bool):
        return _INTEGER, struct.pack(">q", value)
    if isinstance(value, str):
        return _TEXT, value.encode()
    if isinstance(value, bytes):
        return _BYTES, value
    raise TypeError(f"{type(value).__name__} has no canonical form; use uuid, integer, text or bytes")


class Place(NamedTuple):
    """Where a value lives: the permanent field number of the data map and the row. The subject comes with the key."""

    field_number: int
    row: bytes  # from row_key()

    def bound(self) -> bytes:
        """What an envelope is bound to: field number and length-prefixed row key.

        Raises:
            InvalidPlace.
        """
        if not 1 <= self.field_number < 2**32 or not 1 <= len(self.row) < 2**16:
            found = f"field number {self.field_number}, row key of {len(self.row)} bytes"
            raise InvalidPlace(f"{found}: a field number is 1 to 2**32 - 1, a row key 1 to 65535 bytes")
        return _FIELD.pack(self.field_number, len(self.row)) + self.row
