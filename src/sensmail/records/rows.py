"""Records between the database and their leaves: a batch is one value, so that a row costs next to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import msgspec

from sensmail.records import canonical
from sensmail.records.entry import LEDGERS, SALT, Entry, Ledger
from sensmail.records.errors import Unfit
from sensmail.store import Connection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: LiteralString = "(extract(epoch FROM {}) * 1000000)::bigint"
# The members of an entry, in canonical order: row_to_json writes them as they come.
_MEMBERS: LiteralString = """
    account, act, {at} AS at, client, clock, detail, {ledger} AS ledger, opening, origin, outcome, purpose,
    {received} AS received, {sealed} AS sealed, {seq} AS seq, subject_id AS subject, unit, 1 AS v
"""
_INBOX: LiteralString = _MEMBERS.format(
    ledger="ledger",
    at=_MICROSECONDS.format("coalesce(acted_at, at)"),
    received=_MICROSECONDS.format("at"),
    sealed="%(sealed)s::bigint",
    seq="row_number() OVER (PARTITION BY ledger ORDER BY id) - 1 + "
    "CASE ledger WHEN 'access' THEN %(access)s::bigint ELSE %(governance)s::bigint END",
)
_WAITING: LiteralString = f"""
    WITH waiting AS MATERIALIZED (SELECT * FROM records.inbox ORDER BY id LIMIT %(limit)s),
    entry AS (SELECT {_INBOX} FROM waiting ORDER BY ledger, id)
    SELECT (SELECT max(id) FROM waiting),
        (SELECT convert_to(string_agg(row_to_json(entry)::text, E'\\n'), 'UTF8') FROM entry)
"""
_SEALED: LiteralString = _MEMBERS.format(
    ledger="'{ledger}'",
    at=_MICROSECONDS.format("at"),
    received=_MICROSECONDS.format("received"),
    sealed=_MICROSECONDS.format("sealed"),
    seq="seq",
)
_MOVE: LiteralString = f"""
    WITH moved AS (DELETE FROM records.inbox WHERE id <= %(last)s AND ledger = '{{ledger}}' RETURNING *)
    INSERT INTO records.{{ledger}} (part, seq, at, received, sealed, clock, act, account, origin, subject_id, client,
        purpose, outcome, unit, opening, detail, salt)
    SELECT %(part)s, %(first)s + n - 1, coalesce(acted_at, at), at, %(sealed)s, clock, act, account, origin,
        subject_id, client, purpose, outcome, unit, opening, kept.detail::json,
        substring(%(salts)s::bytea FROM {SALT} * (n::integer - 1) + 1 FOR {SALT})
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM moved) AS numbered
    JOIN string_to_table(%(details)s, E'\n') WITH ORDINALITY AS kept (detail, n) USING (n)
"""
_KEPT: LiteralString = f"""
    WITH kept AS MATERIALIZED (SELECT * FROM records.{{ledger}} WHERE part = %(part)s AND seq >= %(first)s
        ORDER BY seq LIMIT %(limit)s),
    entry AS (SELECT {_SEALED} FROM kept)
    SELECT (SELECT convert_to(string_agg(row_to_json(entry)::text, E'\n'), 'UTF8') FROM entry),
        (SELECT string_agg(salt, '') FROM kept)
"""
_lines = msgspec.json.Decoder(Entry).decode_lines


@dataclass(frozen=True)
class Batch:
    """Records that leave the inbox together.

    Attributes:
        last: highest id. entries: of each ledger, numbered, with canonical details; in the order of their ids.
    """

    last: int
    entries: dict[Ledger, list[Entry]]


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """The inverse, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def waiting(connection: Connection, sizes: dict[Ledger, int], sealed: int, limit: int) -> Batch:
    """What stands first in the inbox, as it will be sealed.

    Args:
        connection: in a transaction that sees one snapshot until its end.
        sizes: of the logs; the next record of each gets this number.
        sealed: time of the batch, in microseconds.
        limit: records at most.

    Raises:
        Unfit: a record is none.
    """
    given = {"sealed": sealed, "limit": limit, "access": sizes["access"], "governance": sizes["governance"]}
    last, lines = connection.cursor(binary=True).execute(_WAITING, given).fetchall()[0]
    found: dict[Ledger, list[Entry]] = {each: [] for each in LEDGERS}
    if last is not None:
        for entry in _decoded(lines, f"records.inbox up to id {last}"):
            found[entry.ledger].append(_canonical(entry))
    return Batch(last or 0, found)


def move(connection: Connection, batch: Batch, ledger: Ledger, part: int, salts: bytes) -> int:
    """Take a ledger's records out of the inbox and add them to it, in the snapshot in which they were read.

    Returns:
        How many there were; where not as many as in the batch, somebody meddled: roll back.
    """
    entries = batch.entries[ledger]
    given = {
        "last": batch.last,
        "part": part,
        "first": entries[0].seq,
        "sealed": moment(entries[0].sealed),
        "salts": salts,
        "details": b"\n".join([bytes(each.detail) for each in entries]).decode(),
    }
    return connection.execute(_MOVE.format(ledger=ledger), given).rowcount


def new_salts(count: int) -> bytes:
    """As one value, 16 bytes each."""
    return os.urandom(SALT * count)


def paired(entries: Sequence[Entry], salts: bytes) -> Iterator[tuple[Entry, bytes]]:
    """Each entry with its salt."""
    return zip(entries, [salts[at : at + SALT] for at in range(0, len(salts), SALT)], strict=True)


def sealed(connection: Connection, ledger: Ledger, part: int, first: int, limit: int) -> tuple[list[Entry], bytes]:
    """Entries of one partition from a number on, and their salts as one value.

    Raises:
        Unfit: a row is no entry any more.
    """
    cursor = connection.cursor(binary=True)
    given = {"part": part, "first": first, "limit": limit}
    lines, salts = cursor.execute(_KEPT.format(ledger=ledger), given).fetchall()[0]
    return (_decoded(lines, f"records.{ledger}, partition {part}, from {first} on") if lines else []), salts or b""


def _decoded(lines: bytes, where: str) -> list[Entry]:
    try:
        return _lines(lines)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Unfit(f"{where}: a record is not of the form of one: {error}") from None


def _canonical(entry: Entry) -> Entry:
    text = bytes(entry.detail)
    return entry if text == b"{}" else msgspec.structs.replace(entry, detail=msgspec.Raw(canonical.detail(text)))
