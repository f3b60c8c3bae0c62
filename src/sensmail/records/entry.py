"""One sealed record and the bytes of its leaf. docs/formats.md, "Sealed record"."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from sensmail.records import canonical
from sensmail.records.canonical import LARGEST, Integer
from sensmail.records.errors import Malformed

VERSION = 1
SALT = 16  # bytes
Ledger = Literal["access", "governance"]
LEDGERS: tuple[Ledger, ...] = ("access", "governance")
_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]


class Entry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """The members of a sealed record, in the order of RFC 8785. Times are microseconds since 1970.

    Attributes:
        at: time of the act. received: in the inbox. sealed: of its batch.
        detail: a JSON object in canonical form, as text.
        opening: number of the opening, counted by the key service.
    """

    account: str
    act: str
    at: Integer
    client: str
    clock: str
    detail: msgspec.Raw
    ledger: Ledger
    opening: _Number | None
    origin: str
    outcome: Literal["done", "refused", "failed", "void"]
    purpose: str
    received: Integer
    sealed: Integer
    seq: _Count
    subject: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")] | None
    unit: str
    v: Literal[1]


decode = msgspec.json.Decoder(Entry).decode
encode = msgspec.json.Encoder().encode  # the members stand in canonical order; detail is spliced as it is


def leaf(entry: Entry, salt: bytes) -> bytes:
    """The leaf hash."""
    return leaf_of(encode(entry), salt)


def leaf_of(line: bytes, salt: bytes) -> bytes:
    """The leaf hash of an entry's canonical bytes."""
    return sha256(b"\x00" + salt + line).digest()


def parse(line: bytes) -> Entry:
    """Read canonical bytes that come from elsewhere, such as a bundle.

    Raises:
        Malformed: not an entry, or not in canonical form.
    """
    try:
        entry = decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"entry: {error}") from None
    canonical.check_detail(bytes(entry.detail))
    if encode(entry) != bytes(line):
        raise Malformed(f"entry {entry.seq}: not in canonical form")
    return entry
