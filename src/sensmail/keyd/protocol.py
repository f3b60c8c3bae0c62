"""Every message of the key service: `POST /v1/<act>` over the Unix socket, MessagePack in and out.

One definition for both sides; msgspec checks types and limits while it decodes. Structures are arrays on the wire. A
subject id is 16 bytes there and a UUID in Python, but in `Values`, of which a pass has millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

SOCKET = Path("/run/sensmail-keyd/socket")
MEDIA_TYPE = "application/vnd.msgpack"
MAX_ITEMS = 20_000  # a call
MAX_BODY = 64 * 2**20  # bytes

_PLAIN = r"\A[^\x00-\x1f\x7f]*\Z"  # no control character: a record is read on terminals, and PostgreSQL takes no NUL
Name = Annotated[str, Meta(max_length=200, pattern=_PLAIN)]
Purpose = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Field = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Row = Annotated[bytes, Meta(min_length=1, max_length=2**16 - 1)]
Subject = Annotated[bytes, Meta(min_length=16, max_length=16)]
Officers = Annotated[list[Annotated[bytes, Meta(min_length=32, max_length=32)]], Meta(min_length=3, max_length=3)]
Subjects = Annotated[list[UUID], Meta(max_length=MAX_ITEMS)]


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything on the wire."""


class Actor(Message, frozen=True):
    """Who sees the value, as the caller says: the account, where from, and by which program."""

    account: Name
    origin: Name = ""
    client: Name = ""


class Why(Message, frozen=True):
    """What an administrative act is recorded with."""

    actor: Annotated[str, Meta(min_length=1, max_length=200, pattern=_PLAIN)]
    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern=_PLAIN)]
    approver: Name = ""


class Sealing(NamedTuple):
    """A value to seal for its place: permanent field number of the data map, and `fields.row_key(...)`."""

    subject: UUID
    field: int
    row: bytes
    value: bytes


class Sealed(NamedTuple):
    """A sealed value as it was found at its place."""

    subject: UUID
    field: int
    row: bytes
    envelope: bytes


class Values(Message, frozen=True):
    """Values at their places, column by column: `contents` are values in clear to seal, or envelopes."""

    subjects: Annotated[Sequence[Subject], Meta(max_length=MAX_ITEMS)]
    fields: Annotated[Sequence[Field], Meta(max_length=MAX_ITEMS)]
    rows: Annotated[Sequence[Row], Meta(max_length=MAX_ITEMS)]
    contents: Annotated[Sequence[bytes], Meta(max_length=MAX_ITEMS)]

    def __post_init__(self) -> None:
        if not len(self.subjects) == len(self.fields) == len(self.rows) == len(self.contents):
            raise ValueError("the columns of values are of different lengths")

    def __len__(self) -> int:
        return len(self.subjects)

    def __iter__(self) -> Iterator[tuple[bytes, int, bytes, bytes]]:
        """Subject, field, row and content of each."""
        return zip(self.subjects, self.fields, self.rows, self.contents, strict=True)

    @classmethod
    def of(cls, values: Values | Sequence[Sealing] | Sequence[Sealed]) -> Values:
        """The same values, where they are not in columns already."""
        if isinstance(values, Values):
            return values
        subjects, fields, rows, contents = zip(*values, strict=True) if values else ((), (), (), ())
        return cls([each.bytes for each in subjects], fields, rows, contents)


class Opened(Message, frozen=True, gc=False):
    """The value, or why not: a code of keyd.errors."""

    value: bytes | None
    refusal: str = ""


class Resealed(Message, frozen=True):
    """Values under the active key versions; None where one is so already, or where a refusal says why not."""

    envelopes: list[bytes | None]
    refusals: dict[int, str]  # by position


class NewSubjects(Message, frozen=True):
    """`subjects`: make new subjects with random ids. Answer: list of ids."""

    count: Annotated[int, Meta(ge=1, le=MAX_ITEMS)]


class SubjectList(Message, frozen=True):
    """`adopt`: first keys for ids that exist already. `replace`: a new key version for each. Answer: how many."""

    subjects: Subjects


class Seal(Message, frozen=True):
    """`seal`: all or nothing. Answer: list of envelopes."""

    values: Values


class Open(Message, frozen=True):
    """`open`: recorded first. Answer: list of Opened."""

    purpose: Purpose
    actor: Actor
    values: Values


class Pass(Message, frozen=True):
    """`reseal` (answer: Resealed), `check` (list of refusals, "" where it opens): nobody sees a value."""

    job: Annotated[str, Meta(min_length=1, max_length=200, pattern=_PLAIN)]
    values: Values


class Census(Message, frozen=True):
    """`census`: in which states these key versions are. Answer: counts by state; see CENSUS_STATES."""

    pairs: Annotated[list[tuple[UUID, Version]], Meta(max_length=10 * MAX_ITEMS)]


CENSUS_STATES = ("active", "replaced", "restore_only", "destroyed", "unknown", "tombstone")


class Administer(Message, frozen=True):
    """`retire` and `destroy_retired` (answer: how many key versions)."""

    why: Why


class ChangeSubjects(Message, frozen=True):
    """`close`, `reopen`, `destroy`. Answer: how many subjects."""

    why: Why
    subjects: Subjects


class Roll(Message, frozen=True):
    """`roll`: a new epoch. Answer: its number."""

    why: Why
    officers: Officers | None = None
    rewrap: bool = False  # by the newest root that the service holds, which ends the one before: needs an approver


class Nothing(Message, frozen=True):
    """`status` and `tombstones`."""


class RootFound(Message, frozen=True):
    """A root key that the service holds."""

    identity: str  # hexadecimal
    provider: str
    destruction: str  # software, hardware, none
    promise: str


class Status(Message, frozen=True):
    """What a report may show of the service."""

    ring: str
    epoch: int
    sequence: int
    destroying: bool  # an old epoch key, or the keys of a dropped subject, may still be readable somewhere
    destroyed_through: int
    recovery: bool  # officers can open the key file
    officers: list[str]  # public keys, hexadecimal
    wrapped_by: str  # identity of the root in use
    roots: list[RootFound]  # oldest to newest
    places: dict[str, str]  # "in step", or what is wrong
    lost: dict[str, int]  # directory -> when it was declared lost (seconds)
    counts: dict[str, int]  # active replaced restore_only destroyed subjects closed tombstones
    issued: int  # highest opening number that was given out
    settled: int  # up to here every opening has its record
    database: str  # "connected", or what is wrong
    memory_locked: bool
    started: int  # seconds


class Gone(Message, frozen=True):
    """A tombstone: when the keys were dropped (seconds), and whether they are gone from every place."""

    subject: UUID
    epoch: int
    time: int
    destroyed: bool


class Failure(Message, frozen=True):
    """The answer when a call is refused: a code of keyd.errors and words for a person."""

    code: str
    text: str


#: act -> (request, answer)
ACTS: dict[str, tuple[type[Message], Any]] = {
    "subjects": (NewSubjects, list[UUID]),
    "adopt": (SubjectList, int),
    "seal": (Seal, list[bytes]),
    "open": (Open, list[Opened]),
    "reseal": (Pass, Resealed),
    "check": (Pass, list[str]),
    "census": (Census, dict[str, int]),
    "close": (ChangeSubjects, int),
    "reopen": (ChangeSubjects, int),
    "destroy": (ChangeSubjects, int),
    "replace": (SubjectList, int),
    "retire": (Administer, int),
    "destroy_retired": (Administer, int),
    "roll": (Roll, int),
    "status": (Nothing, Status),
    "tombstones": (Nothing, list[Gone]),
}

encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
