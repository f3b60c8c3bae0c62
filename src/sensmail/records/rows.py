"""Records in the database: what waits in the inbox, its move into a ledger, and what a ledger holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from sensmail.records import canonical, columns
from sensmail.records.entry import LEDGERS, SALT, Ledger
from sensmail.store import Connection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = "SELECT max(id) FROM (SELECT id FROM records.inbox ORDER BY id LIMIT %s) AS first"
_INBOX = columns.expressions(
    at="coalesce(acted_at, at)", received="at", sealed="''", seq="''", ledger="ledger::text"
)  # what the sealer adds is put in here
_WAITING: LiteralString = "SELECT * FROM records.inbox WHERE id <= %s AND ledger = %s ORDER BY id"
_MOVE: LiteralString = f"""
    WITH moved AS (DELETE FROM records.inbox WHERE id <= %(last)s AND ledger = '{{ledger}}' RETURNING *)
    INSERT INTO records.{{ledger}} (part, seq, at, received, sealed, clock, act, account, origin, subject_id, client,
        purpose, outcome, unit, opening, detail, salt)
    SELECT %(part)s, %(first)s + n - 1, coalesce(acted_at, at), at, %(sealed)s, clock, act, account, origin,
        subject_id, client, purpose, outcome, unit, opening, kept.detail::json,
        substring(%(salts)s::bytea FROM {SALT} * (n::integer - 1) + 1 FOR {SALT})
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM moved) AS numbered
    LEFT JOIN string_to_table(%(details)s, E'\\n') WITH ORDINALITY AS kept (detail, n) USING (n)
"""
_SEALED = {
    ledger: columns.expressions(
        at="at", received="received", sealed=columns.microseconds("sealed"), seq="seq::text", ledger=f"'{ledger}'"
    )
    for ledger in LEDGERS
}
_KEPT: LiteralString = "SELECT * FROM records.{} WHERE part = %s AND seq >= %s ORDER BY seq LIMIT %s"


@dataclass(frozen=True)
class Waiting:
    """Records of one ledger that leave the inbox together, numbered from `first` on.

    Attributes:
        last: the highest id in the inbox that takes part.
        sealed: time of the batch, microseconds.
        lines: canonical bytes.
        details: the part of each that is stored as it is.
    """

    ledger: Ledger
    last: int
    sealed: int
    first: int
    lines: list[bytes]
    details: list[bytes]


@dataclass(frozen=True)
class Kept:
    """Records of a ledger: numbers, canonical bytes and salts, of each as many."""

    numbers: list[int]
    lines: list[bytes]
    salts: list[bytes]


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """The inverse, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def last_waiting(connection: Connection, limit: int) -> int:
    """Up to which id the first `limit` records of the inbox go; 0 when it is empty."""
    return int(connection.execute(_LAST, (limit,)).fetchall()[0][0] or 0)


def waiting(connection: Connection, ledger: Ledger, last: int, first: int, sealed: int) -> Waiting:
    """Records of a ledger in the inbox up to an id, as they will be sealed: numbered from `first` on, by their ids.

    The connection is in a transaction that sees one snapshot until its end.
    """
    found = dict(zip(columns.MEMBERS, columns.fetch(connection, _INBOX, _WAITING, last, ledger), strict=True))
    count = len(found["act"])
    found["sealed"] = [b"%d" % sealed] * count
    found["seq"] = [b"%d" % number for number in range(first, first + count)]
    found["detail"] = [each if each == b"{}" else canonical.detail(each) for each in found["detail"]]
    return Waiting(ledger, last, sealed, first, columns.lines(list(found.values())), found["detail"])


def move(connection: Connection, batch: Waiting, part: int, salts: Sequence[bytes]) -> int:
    """Take the records out of the inbox and add them to their ledger, in the snapshot in which they were read.

    Returns:
        How many there were; where not as many as in the batch, somebody meddled: roll back.
    """
    given = {
        "last": batch.last,
        "part": part,
        "first": batch.first,
        "sealed": moment(batch.sealed),
        "salts": b"".join(salts),
        "details": b"\n".join(batch.details).decode(),  # canonical JSON has no line break
    }
    return connection.execute(_MOVE.format(ledger=batch.ledger), given).rowcount


def new_salts(count: int) -> list[bytes]:
    """One for each record."""
    return _cut(os.urandom(SALT * count))


def kept(connection: Connection, ledger: Ledger, part: int, first: int, limit: int) -> Kept:
    """Records of one partition, from a number on, in order; `limit` at most."""
    texts = [*_SEALED[ledger], "encode(salt, 'hex')"]
    *found, salts = columns.fetch(connection, texts, _KEPT.format(ledger), part, first, limit)
    numbers = list(map(int, found[columns.MEMBERS.index("seq")]))
    return Kept(numbers, columns.lines(found), _cut(bytes.fromhex(b"".join(salts).decode())))


def runs(connection: Connection, ledger: Ledger, part: int, limit: int, first: int = 0) -> Iterator[Kept]:
    """All records of one partition from a number on, `limit` at a time; the next are read while these are worked on."""
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(kept, connection, ledger, part, first, limit)
        while (found := ahead.result()).numbers:
            ahead = reader.submit(kept, connection, ledger, part, found.numbers[-1] + 1, limit)
            yield found


def _cut(salts: bytes) -> list[bytes]:
    return [salts[at : at + SALT] for at in range(0, len(salts), SALT)]
