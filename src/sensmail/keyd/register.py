"""The key register (암호키 관리대장): the life of every key, as rows of `records.key_register`.

The key service writes it. What concerns roots, epochs and officers follows from comparing the open key file with the
table (`reconcile`), so that what a crash kept from being noted is made up for at the next start, and the row says so.
Batches of subject keys are noted when they happen (`note`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from sensmail.keyd.protocol import Why
from sensmail.keys.officer import fingerprint
from sensmail.store import Connection

__all__ = [
    "DroppedRetired", "DroppedSubjects", "Event", "Line", "Retired", "RingDiscarded", "RootDestroyed", "RootSeen",
    "Seen", "Why", "lines", "note", "reconcile",
]  # fmt: skip


ROLE = "sensmail-keyd"
FOUND = "적은 날은 처음 확인한 날 / the date is when it was first seen"
IN_USE = "in use"
_REPLACED, _PURGED = "replaced", "purged"
_PURPOSES = {
    "root": "에포크 키를 감싸는 최상위 키 / wraps the epoch key",
    "epoch": "키 파일 암호화 / encrypts the key file",
    "recovery": "책임자 3인 중 2인의 복구 / recovery by two of three officers",
    "subject": "정보주체별 항목 암호화 / seals the values of data subjects",
}


@dataclass(frozen=True)
class RootSeen:
    """One root key. `identity` is 32 hexadecimal digits; `destruction` is software, hardware or none."""

    identity: str
    provider: str
    destruction: str


@dataclass(frozen=True)
class Seen:
    """What the open key file says of itself, without any key."""

    ring: str  # 32 hexadecimal digits
    epoch: int
    destroying: bool  # an old epoch key, or a dropped key, may still be readable in some place
    roots: tuple[RootSeen, ...]  # every generation that the service holds
    wrapped_by: str  # identity of the root that wrapped the present epoch key
    officers: tuple[str, ...]  # public keys, hexadecimal; none, or three
    restore_only: int  # key versions kept for restores
    tombstones: int  # subjects whose keys were dropped


@dataclass(frozen=True)
class Batch:
    """Keys of `count` subjects or key versions went one step together; `sequence` is that of the journal."""

    ring: str
    sequence: int
    count: int
    why: Why


class Retired(Batch):
    """Replaced key versions open nothing online any more."""


class DroppedRetired(Batch):
    """Every key version that was kept for restores has left the key file."""


class DroppedSubjects(Batch):
    """All keys of these subjects have left the key file."""


@dataclass(frozen=True)
class RootDestroyed:
    """A root key that wraps nothing any more was destroyed, as far as its provider can."""

    identity: str
    why: Why


@dataclass(frozen=True)
class RingDiscarded:
    """An empty key file was set aside for one that was recovered."""

    ring: str
    why: Why


Event = Batch | RootDestroyed | RingDiscarded


@dataclass(frozen=True)
class Line:
    """One row of the register, in the order of the table's columns. Dates are in UTC; None: has not happened."""

    id: int
    ring: str
    kind: str
    key: str
    purpose: str
    provider: str
    count: int | None
    remark: str
    made: datetime | None
    activated: datetime | None
    retired: datetime | None
    dropped: datetime | None
    destroyed: datetime | None
    approver: str | None
    destruction: str | None
    reason: str | None


def lines(connection: Connection) -> list[Line]:
    """The whole register, oldest row first."""
    with connection.cursor(row_factory=class_row(Line)) as cursor:
        return cursor.execute("SELECT * FROM records.key_register ORDER BY id").fetchall()


def reconcile(connection: Connection, seen: Seen, why: Why | None = None) -> list[str]:
    """Bring the register to what the key file says. Idempotent, one transaction.

    Args:
        connection: of role sensmail-keyd.
        seen: the key file as it is now.
        why: the act that was just carried out; None at a start, when what is new was only found.

    Returns:
        What was written, a line each.
    """
    with connection.transaction():
        book = _Book(connection, seen.ring, why)
        book.roots(seen)
        book.epochs(seen)
        book.officers(seen)
        book.subjects(seen)
        if not seen.destroying:
            book.write("destroyed", _GONE)
        return book.written


def note(connection: Connection, event: Event) -> None:
    """Write one event. Writing it again changes nothing; an event about no key is not written."""
    with connection.transaction():
        if isinstance(event, RootDestroyed):
            _Book(connection, "", event.why).write("destroyed", _ROOT_GONE, key=event.identity)
        elif isinstance(event, RingDiscarded):
            _Book(connection, event.ring, event.why).write("destroyed", _RING_GONE)
        elif event.count:
            _Book(connection, event.ring, event.why).batch(event)


class _Book:
    """The rows of one key file, inside one transaction."""

    def __init__(self, connection: Connection, ring: str, why: Why | None) -> None:
        self._connection, self._ring, self._why = connection, ring, why
        self.written: list[str] = []

    def write(self, what: str, statement: LiteralString, **values: object) -> None:
        """Run one statement that returns kind and key of the rows it wrote."""
        why = {"approver": self._why.approver or None, "reason": self._why.reason} if self._why else _NOBODY
        rows = self._connection.execute(statement, {"ring": self._ring, **why, **values}).fetchall()
        self.written += [f"{what}: {kind} {key}" for kind, key in rows]

    def add(self, kind: str, key: str, dates: Iterable[str], **values: object) -> None:
        """A new row with these dates set to now, unless the key has one."""
        remark = "" if self._why else FOUND
        fresh = {"kind": kind, "key": key, "dates": list(dates), "purpose": _PURPOSES[kind], "remark": remark}
        self.write("new", _NEW, **fresh, **{"provider": "", "destruction": None, "count": None, **values})

    def batch(self, event: Batch) -> None:
        """One step of many subject keys."""
        if isinstance(event, DroppedRetired):
            self.write("dropped", _REPLACED_DROPPED)
        elif isinstance(event, DroppedSubjects):
            self.add("subject", f"{_PURGED} @{event.sequence}", ["dropped"], count=event.count)
        else:
            self.add("subject", f"{_REPLACED} @{event.sequence}", ["retired"], count=event.count)

    def roots(self, seen: Seen) -> None:
        """A row for every generation; the one that wraps is active, the one before it retired."""
        for root in seen.roots:
            self.add("root", root.identity, ["made"], provider=root.provider, destruction=root.destruction)
        self.write("activated", _ROOT_ACTIVE, key=seen.wrapped_by)
        self.write("retired", _OTHERS_RETIRED, kind="root", key=seen.wrapped_by)

    def epochs(self, seen: Seen) -> None:
        """The present epoch is active, all others are retired."""
        self.add("epoch", str(seen.epoch), ["made", "activated"])
        self.write("retired", _OTHERS_RETIRED, kind="epoch", key=str(seen.epoch))

    def officers(self, seen: Seen) -> None:
        """A row for each time that a set of officers is in charge, named by what they read out loud."""
        names = " · ".join(fingerprint(bytes.fromhex(each)) for each in seen.officers)
        held = self._connection.execute(_IN_CHARGE, {"ring": self._ring}).fetchone()
        if (held[0].rpartition(" @")[0] if held else "") == names:
            return
        key = f"{names} @{seen.epoch}"
        self.write("retired", _OTHERS_RETIRED, kind="recovery", key=key)
        if names:
            self.add("recovery", key, ["made", "activated"], destruction="none")

    def subjects(self, seen: Seen) -> None:
        """The row for all keys in use, and what `note` did not get to write."""
        self.add("subject", IN_USE, ["made", "activated"])
        ((kept, purged),) = self._connection.execute(_BATCHES, {"ring": self._ring}).fetchall()
        self._why = None
        if kept and not seen.restore_only:
            self.write("dropped", _REPLACED_DROPPED)
        if seen.restore_only and not kept:
            self.add("subject", f"{_REPLACED} @epoch {seen.epoch}", ["retired"], count=seen.restore_only)
        if seen.tombstones > purged:
            key = f"{_PURGED} @{seen.tombstones} in all"
            self.add("subject", key, ["dropped"], count=seen.tombstones - purged)


_NOBODY: dict[str, str | None] = {"approver": None, "reason": None}
_NEW: LiteralString = """
    INSERT INTO records.key_register (ring, kind, key, purpose, provider, destruction, count, remark,
        made, activated, retired, dropped, approver, reason)
    SELECT %(ring)s, %(kind)s, %(key)s, %(purpose)s, %(provider)s, %(destruction)s, %(count)s, %(remark)s,
        CASE WHEN 'made' = ANY (dates) THEN now() END,
        CASE WHEN 'activated' = ANY (dates) THEN now() END,
        CASE WHEN 'retired' = ANY (dates) THEN now() END,
        CASE WHEN 'dropped' = ANY (dates) THEN now() END,
        CASE WHEN 'dropped' = ANY (dates) THEN %(approver)s END,
        CASE WHEN 'dropped' = ANY (dates) THEN %(reason)s END
    FROM (SELECT %(dates)s::text[] AS dates) AS given
    WHERE NOT EXISTS (  -- instead of a conflict, which would leave a hole in the numbers of the rows
        SELECT FROM records.key_register WHERE ring = %(ring)s AND kind = %(kind)s AND key = %(key)s)
    RETURNING kind, key
"""
_ROOT_ACTIVE: LiteralString = """
    UPDATE records.key_register SET activated = now()
    WHERE ring = %(ring)s AND kind = 'root' AND key = %(key)s AND activated IS NULL
    RETURNING kind, key
"""
_OTHERS_RETIRED: LiteralString = """
    UPDATE records.key_register SET retired = now(), approver = %(approver)s, reason = %(reason)s
    WHERE ring = %(ring)s AND kind = %(kind)s AND key <> %(key)s AND activated IS NOT NULL AND retired IS NULL
    RETURNING kind, key
"""
_REPLACED_DROPPED: LiteralString = f"""
    UPDATE records.key_register SET dropped = now(), approver = %(approver)s, reason = %(reason)s
    WHERE ring = %(ring)s AND kind = 'subject' AND key LIKE '{_REPLACED} @%%' AND dropped IS NULL
    RETURNING kind, key
"""
_GONE: LiteralString = """
    UPDATE records.key_register SET destroyed = now(), destruction = 'software'
    WHERE ring = %(ring)s AND destroyed IS NULL
        AND (kind = 'epoch' AND retired IS NOT NULL OR kind = 'subject' AND dropped IS NOT NULL)
    RETURNING kind, key
"""
_ROOT_GONE: LiteralString = """
    UPDATE records.key_register
    SET destroyed = now(), approver = coalesce(approver, %(approver)s), reason = coalesce(reason, %(reason)s)
    WHERE kind = 'root' AND key = %(key)s AND retired IS NOT NULL AND destroyed IS NULL
    RETURNING kind, key
"""
_RING_GONE: LiteralString = """
    UPDATE records.key_register SET retired = coalesce(retired, now()), destroyed = now(),
        destruction = coalesce(destruction, 'software'),
        approver = coalesce(approver, %(approver)s), reason = coalesce(reason, %(reason)s)
    WHERE ring = %(ring)s AND kind <> 'root' AND destroyed IS NULL
    RETURNING kind, key
"""
_IN_CHARGE: LiteralString = """
    SELECT key FROM records.key_register WHERE ring = %(ring)s AND kind = 'recovery' AND retired IS NULL
"""
_BATCHES: LiteralString = f"""
    SELECT count(*) FILTER (WHERE key LIKE '{_REPLACED} @%%' AND dropped IS NULL),
        coalesce(sum(count) FILTER (WHERE key LIKE '{_PURGED} @%%'), 0)
    FROM records.key_register WHERE ring = %(ring)s AND kind = 'subject'
"""
