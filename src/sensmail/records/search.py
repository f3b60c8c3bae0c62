"""Search of the ledgers by person and time. The search is recorded, durably, before it shows anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from sensmail.ledger import Entry, insert
from sensmail.records import reading
from sensmail.records.entry import Ledger
from sensmail.records.errors import RecordsError
from sensmail.records.reading import Record
from sensmail.store import Connection

ACT = "records.search"
MOST = 10_000
_WHERE: LiteralString = """
    (subject_id = %(subject)s OR account = %(account)s) AND at >= %(since)s AND at < %(until)s
"""
_FOUND: LiteralString = "SELECT {} FROM records.{} WHERE {} ORDER BY at, part, seq LIMIT %(limit)s"
_SUBJECT = "SELECT id FROM accounts.subject WHERE address = %s"
_ADDRESS = "SELECT address FROM accounts.subject WHERE id = %s"


@dataclass(frozen=True)
class Person:
    """Whose records: by id, by mail address, or both where the address is known."""

    subject: UUID | None
    account: str | None


@dataclass(frozen=True)
class Asked:
    """Who searches, and why; both stand in the records."""

    account: str
    reason: str


def person(connection: Connection, text: str) -> Person:
    """A mail address or a subject id; the other one is looked up, for records may bear either."""
    try:
        subject = UUID(text)
    except ValueError:
        found = connection.execute(_SUBJECT, (text,)).fetchone()
        return Person(found[0] if found else None, text)
    found = connection.execute(_ADDRESS, (subject,)).fetchone()
    return Person(subject, found[0] if found else None)


def search(
    connection: Connection,
    ledger: Ledger,
    who: Person,
    since: datetime,
    until: datetime,
    asked: Asked,
    limit: int = MOST,
) -> list[Record]:
    """The records of a person in [since, until), by the time of the act, oldest first; `limit` at most.

    Raises:
        RecordsError: no reason, or times in the wrong order; nothing was looked for. psycopg.Error.
    """
    if not asked.reason.strip() or not asked.account.strip():
        raise RecordsError("a search needs a reason and a name: both stand in the records")
    if since >= until:
        raise RecordsError(f"from {since} until {until}: it ends before it begins")
    detail: dict[str, str | list[str]] = {"reason": asked.reason, "ledger": [ledger]}
    insert(connection, [Entry("access", ACT, asked.account, subject=who.subject, purpose="search", detail=detail)])
    given = {"subject": who.subject, "account": who.account, "since": since, "until": until, "limit": limit}
    query = _FOUND.format(reading.COLUMNS, ledger, _WHERE)
    return [Record(*row) for row in connection.execute(query, given).fetchall()]
