"""Legal holds: records that match one are kept aside when their time comes, until it is released. Both are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from sensmail.ledger import Entry, insert
from sensmail.records.errors import RecordsError
from sensmail.store import Connection

PLACED, RELEASED = "records.hold", "records.release"
_LOCK = 0x686F6C64  # "hold"; whoever prunes has it, and whoever places or releases one
_WAIT = "SET LOCAL lock_timeout = '10min'"
_COLUMNS: LiteralString = """
    id, subject_id, account, since, until, placed, placed_by, reason, approver, released, released_by, release_reason,
    release_approver
"""
_PLACE: LiteralString = """
    INSERT INTO records.hold (subject_id, account, since, until, placed_by, reason, approver)
    VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
_RELEASE: LiteralString = """
    UPDATE records.hold SET released = clock_timestamp(), released_by = %s, release_reason = %s, release_approver = %s
    WHERE id = %s AND released IS NULL RETURNING subject_id
"""


@dataclass(frozen=True)
class Criteria:
    """Which records; every member that is given must match. Times of the act, with zone."""

    subject: UUID | None = None
    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Order:
    """Who acts on whose order, and why."""

    account: str
    reason: str
    approver: str


@dataclass(frozen=True)
class Hold:
    """One row."""

    number: int
    subject: UUID | None
    account: str | None
    since: datetime | None
    until: datetime | None
    placed: datetime
    placed_by: str
    reason: str
    approver: str
    released: datetime | None
    released_by: str | None
    release_reason: str | None
    release_approver: str | None


def place(connection: Connection, criteria: Criteria, order: Order) -> int:
    """Place a hold; returns its number. It waits for a prune that is at work.

    Raises:
        RecordsError: no criterion, an order without its words, or times in the wrong order.
    """
    _require(order)
    if criteria == Criteria():
        raise RecordsError("a hold needs a person, an account or a time: without, nothing would ever be deleted")
    if criteria.since and criteria.until and criteria.since > criteria.until:
        raise RecordsError(f"a hold from {criteria.since} until {criteria.until}: it ends before it begins")
    with connection.transaction():
        _serialise(connection)
        given = (criteria.subject, criteria.account, criteria.since, criteria.until)
        row = connection.execute(_PLACE, (*given, order.account, order.reason, order.approver)).fetchall()[0]
        insert(connection, [_entry(PLACED, int(row[0]), criteria.subject, order)])
    return int(row[0])


def release(connection: Connection, number: int, order: Order) -> None:
    """Release it: the next prune deletes what was kept for it alone. Raises RecordsError where there is none."""
    _require(order)
    with connection.transaction():
        _serialise(connection)
        given = (order.account, order.reason, order.approver, number)
        row = connection.execute(_RELEASE, given).fetchone()
        if row is None:
            raise RecordsError(f"hold {number}: there is none, or it was released: `sensmail records hold list`")
        insert(connection, [_entry(RELEASED, number, row[0], order)])


def holds(connection: Connection) -> list[Hold]:
    """All of them, the oldest first."""
    return [Hold(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM records.hold ORDER BY id")]


@contextmanager
def holds_stand(connection: Connection) -> Iterator[None]:
    """Nobody places or releases a hold while inside."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _serialise(connection: Connection) -> None:
    connection.execute(_WAIT)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def _require(order: Order) -> None:
    for name in ("account", "reason", "approver"):
        if not getattr(order, name).strip():
            raise RecordsError(f"{name}: a hold is placed and released with a reason, an approver and a name")


def _entry(act: str, number: int, subject: UUID | None, order: Order) -> Entry:
    detail: dict[str, str | int] = {"hold": number, "reason": order.reason, "approver": order.approver}
    return Entry("governance", act, order.account, subject=subject, detail=detail)
