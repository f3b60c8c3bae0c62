"""What a person sees of the ledgers: where the logs stand, and single records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from sensmail.records import checkpoint, note
from sensmail.records.entry import Ledger
from sensmail.store import Connection

_STATE: LiteralString = """
    SELECT l.ledger::text, l.generation, l.log_key, h.size, h.sealed, h.part, h.turn, h.note,
        coalesce((SELECT max(size) FROM records.cut AS c WHERE (c.ledger, c.generation) = (l.ledger, l.generation)), 0)
    FROM records.log AS l JOIN records.head AS h USING (ledger, generation) ORDER BY ledger
"""
_WAITING = "SELECT count(*), min(at) FROM records.inbox"
COLUMNS: LiteralString = """
    part / 1000000, seq, at, received, sealed, clock, act, account, origin, subject_id, client, purpose, outcome::text,
    unit, opening, detail
"""
_TAIL: LiteralString = "SELECT {} FROM records.{} ORDER BY part DESC, seq DESC LIMIT %s"
_ONE: LiteralString = "SELECT {} FROM records.{} WHERE seq = %s ORDER BY part DESC LIMIT 1"


@dataclass(frozen=True)
class State:
    """One log. `first`: the first number that is still there. `signed`: when its newest checkpoint was, UTC."""

    ledger: str
    generation: int
    log_key: str
    first: int
    size: int
    sealed: datetime
    part: int
    turn: int
    signed: int


@dataclass(frozen=True)
class Queue:
    """What is not sealed yet: how many, and since when the oldest waits."""

    count: int
    since: datetime | None


@dataclass(frozen=True)
class Record:
    """One sealed record, as its columns."""

    generation: int
    seq: int
    at: datetime
    received: datetime
    sealed: datetime
    clock: str
    act: str
    account: str
    origin: str
    subject: Any
    client: str
    purpose: str
    outcome: str
    unit: str
    opening: int | None
    detail: dict[str, Any]


def states(connection: Connection) -> list[State]:
    """Where each ledger's present log stands. Raises Malformed where a head is not readable."""
    found = []
    for ledger, generation, key, size, sealed, part, turn, text, cut in connection.execute(_STATE):
        signed = checkpoint.parse(note.parse(text.encode()).text).time
        found.append(State(ledger, generation, key, cut, size, sealed, part, turn, signed))
    return found


def queue(connection: Connection) -> Queue:
    """Of the inbox."""
    return Queue(*connection.execute(_WAITING).fetchall()[0])


def tail(connection: Connection, ledger: Ledger, count: int) -> list[Record]:
    """The newest records, oldest first."""
    rows = connection.execute(_TAIL.format(COLUMNS, ledger), (count,)).fetchall()
    return [Record(*row) for row in reversed(rows)]


def one(connection: Connection, ledger: Ledger, number: int) -> Record | None:
    """The record of this number, of the newest generation that has it."""
    row = connection.execute(_ONE.format(COLUMNS, ledger), (number,)).fetchone()
    return Record(*row) if row else None
