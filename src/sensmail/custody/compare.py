"""Which sealed values in the database have no key in the key file: after a restore, and as a check at any time.

Only the subject and the first bytes of each envelope are read, and nothing is opened. A batch that the key service
knows whole is done; any other is halved until the values without a key are found, so that a million good rows cost
few calls.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg import sql

from sensmail.fields import text
from sensmail.store import Connection

Name = tuple[UUID, int]  # subject and key version
Census = Callable[[Sequence[Name]], Mapping[str, int]]

BATCH = 20_000
_MARK = text.PREFIX.decode()
_HEAD = struct.Struct(">BBI")
_BARE = ("unknown", "tombstone", "destroyed")


@dataclass(frozen=True)
class Column:
    """A column of the data map that holds sealed values, and the column of its table that names the subject."""

    table: str  # schema.table
    column: str
    subject: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Bare:
    """Values of one subject, column and key version that no key opens, and why: unknown, tombstone or destroyed."""

    column: str
    subject: UUID
    version: int
    why: str


@dataclass
class Compared:
    """What was looked at, and what has no key."""

    values: int = 0
    bare: list[Bare] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing is lost: what has no key belongs to subjects that were purged."""
        return all(each.why == "tombstone" for each in self.bare)


def columns(policy: Mapping[str, Any]) -> list[Column]:
    """The sealed columns that the policy's data map (`/etc/sensmail/policy.json`) gives a subject."""
    return [
        Column(each["table"], each["column"], each["subject"])
        for each in policy["data_map"]
        if each["protection"] == "sealed" and each.get("subject")
    ]


def compare(connection: Connection, sealed: Iterable[Column], census: Census) -> Compared:
    """Look at every sealed value in these columns.

    Args:
        connection: may read the columns.
        sealed: where to look; a table that is not there yet is passed over.
        census: counts subjects' key versions by state, as the key service does.
    """
    result = Compared()
    for column in sealed:
        names = _names(connection, column)
        while batch := list(islice(names, BATCH)):
            result.values += len(batch)
            found = _bare(sorted(set(batch)), census)
            result.bare += (Bare(str(column), *name, why) for name, why in found)
    return result


def _names(connection: Connection, column: Column) -> Iterator[Name]:
    table = sql.Identifier(*column.table.split("."))
    row = connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone()
    if row is None or row[0] is None:
        return
    value, subject = sql.Identifier(column.column), sql.Identifier(column.subject)
    head = sql.SQL("substring({} FROM 1 FOR {})").format(value, len(_MARK) + 8)
    query = sql.SQL("SELECT {}, {} FROM {} WHERE {} IS NOT NULL").format(subject, head, table, value)
    with connection.transaction(), connection.cursor(name="sealed", binary=True) as cursor:
        cursor.itersize = BATCH
        for owner, start in cursor.execute(query):
            if (version := _version(start)) is not None:
                yield owner, version


def _version(start: bytes | str) -> int | None:
    """The key version that an envelope names by its first bytes; None for what is no envelope."""
    try:
        if isinstance(start, str):
            start = urlsafe_b64decode(start.removeprefix(_MARK)) if start.startswith(_MARK) else b""
        kind, _, version = _HEAD.unpack_from(start)
    except (ValueError, struct.error):
        return None
    return version if kind == 1 else None


def _bare(names: Sequence[Name], census: Census) -> Iterator[tuple[Name, str]]:
    counts = census(names)
    if not any(counts.get(state) for state in _BARE):
        return
    if len(names) == 1:
        yield names[0], next(state for state in _BARE if counts.get(state))
        return
    middle = len(names) // 2
    yield from _bare(names[:middle], census)
    yield from _bare(names[middle:], census)
