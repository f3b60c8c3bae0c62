"""How many values of a column are in which state, from one consistent look at the whole table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from psycopg import sql

from sensmail.fields import EnvelopeError, text
from sensmail.keyd.client import KeyService
from sensmail.rotation.model import Column, Table
from sensmail.rotation.progress import Progress
from sensmail.rotation.transform import claims_sealed, envelope_of
from sensmail.store import Connection

Name = tuple[UUID, int]  # of a key: subject and version
PAIRS = 100_000  # in one call of the key service
FETCH = 20_000  # rows at a time
_HEAD = 36  # bytes of an envelope: no shorter than an empty one, and a whole number of characters of its text form
STATES = ("plaintext", "active", "replaced", "restore_only", "destroyed", "tombstone", "unknown", "invalid")
# destroyed: this version is gone, though the person has keys; tombstone: the person's keys were dropped;
# unknown: no such person or version in this key file; invalid: no envelope, or a row without a subject


def census(connection: Connection, table: Table, keys: KeyService, progress: Progress) -> dict[str, dict[str, int]]:
    """Counts by column and state; values that are NULL are not counted. Opens nothing.

    Raises:
        KeyServiceError, psycopg.Error.
    """
    progress.phase("census")
    return {column.name: _census(connection, table, column, keys, progress) for column in table.columns}


def _census(
    connection: Connection, table: Table, column: Column, keys: KeyService, progress: Progress
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    pairs: list[Name] = []
    for found in scan(connection, table, column):
        if isinstance(found, str):
            counts[found] += 1
            continue
        pairs.append(found)
        if len(pairs) == PAIRS:
            counts.update(keys.census(pairs))
            progress.moved(len(pairs))
            pairs = []
    if pairs:
        counts.update(keys.census(pairs))
        progress.moved(len(pairs))
    return {state: counts[state] for state in STATES}


def scan(connection: Connection, table: Table, column: Column) -> Iterator[Name | str]:
    """For each value the key that it names; or its state, plaintext or invalid, where it names none."""
    known: dict[bytes, UUID] = {}
    return (_state(column, subject, head, known) for subject, head in _heads(connection, table, column))


def _heads(connection: Connection, table: Table, column: Column) -> Iterator[tuple[bytes | None, bytes]]:
    """Subject and beginning of every value, read by one statement."""
    name, most = sql.Identifier(column.name), sql.Literal(text.size(_HEAD) if column.text else _HEAD)
    head = sql.SQL("textsend(left({}::text, {}))" if column.text else "substring({}::bytea FROM 1 FOR {})").format(
        name, most
    )
    query = sql.SQL("SELECT uuid_send({}::uuid), {} FROM {} WHERE {} IS NOT NULL").format(
        sql.Identifier(table.subject), head, table.identifier, name
    )
    with connection.transaction(), connection.cursor("census", binary=True) as cursor:
        cursor.itersize = FETCH
        yield from cursor.execute(query)


def _state(column: Column, subject: bytes | None, head: bytes, known: dict[bytes, UUID]) -> Name | str:
    if not claims_sealed(column, head):
        return "plaintext"
    if subject is None:
        return "invalid"
    try:
        envelope = envelope_of(column, head)
    except EnvelopeError:
        return "invalid"
    person = known.get(subject) or known.setdefault(subject, UUID(bytes=subject))
    return person, int.from_bytes(envelope[2:6])
