"""Where the collector stands, kept in the database, in the transaction of the records that it wrote up to there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from sensmail.ledger import Entry, insert
from sensmail.records.collector.line import Position, position
from sensmail.store import Connection, StoreError

ROLE = "sensmail-collector"
# On for this session whatever the server's or the role's default.
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '60s'; SET lock_timeout = '10s'; SET jit = off"
_NOT_TAKEN = (psycopg.DataError, psycopg.errors.CheckViolation)
_READ = "SELECT cursor, sessions FROM records.journal_position WHERE host = %s"
_FIRST = "INSERT INTO records.journal_position (cursor, sessions, host) VALUES (%s, %s, %s)"
_MOVE = (
    "UPDATE records.journal_position SET cursor = %s, sessions = %s, moved_at = now() WHERE host = %s AND cursor = %s"
)
_PEOPLE = "SELECT address, id FROM records.known_address WHERE address = ANY (%s)"


class Overtaken(StoreError):
    """Another collector of the same host wrote records meanwhile; nothing of this batch was kept."""


class Store:
    """The collector's session on the database.

    Attributes:
        place: the last line whose records are written; None before the first.
        sessions: what `Sessions` had to keep there.
    """

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection, self._host = connection, host
        connection.execute(_SESSION)
        row = connection.execute(_READ, (host,)).fetchone()
        self.place: Position | None = position(row[0]) if row else None
        self.sessions: dict[str, str] = row[1] if row else {}

    def people(self, addresses: Iterable[str]) -> dict[str, UUID]:
        """Ids by mail address, of those that are known."""
        wanted = sorted(set(addresses))
        return dict(self._connection.execute(_PEOPLE, (wanted,)).fetchall()) if wanted else {}

    def write(self, entries: Sequence[Entry], place: Position, sessions: dict[str, str]) -> None:
        """Add records and move on, both or neither.

        Raises:
            Overtaken. psycopg.Error, LedgerError: nothing was kept; or the answer to the commit was lost, so read
            anew where the collector stands.
        """
        before, values = self.place, (place.cursor, Jsonb(sessions), self._host)
        with self._connection.transaction():
            self._insert(entries)
            if before is None:
                moved = self._connection.execute(_FIRST, values)
            else:
                moved = self._connection.execute(_MOVE, (*values, before.cursor))
            if moved.rowcount != 1:
                raise Overtaken(f"another collector of this host ({self._host}) is at work; only one may be")
        self.place, self.sessions = place, sessions

    def _insert(self, entries: Sequence[Entry]) -> None:
        """All of them; one that the database does not take is replaced by the record that it was refused."""
        try:
            with self._connection.transaction():
                insert(self._connection, entries)
        except _NOT_TAKEN:
            for each in entries:
                try:
                    with self._connection.transaction():
                        insert(self._connection, [each])
                except _NOT_TAKEN as error:
                    insert(self._connection, [_refused(each, error)])


def _refused(entry: Entry, error: psycopg.Error) -> Entry:
    return Entry(
        "access",
        "journal.refused",
        purpose="records",
        outcome="refused",
        detail={"reason": f"the database does not take a record of {entry.act} ({type(error).__name__})"},
        acted_at=entry.acted_at,
        clock=entry.clock,
    )
