"""The one engine of protect and reseal: a pass over one table, chunk by chunk in the order of its primary key.

    read a chunk ─▶ key service ─▶ COPY into a temporary table ─▶ UPDATE where the old value still stands ─▶ commit

The position is committed with the chunk, so a run that was cut off anywhere goes on behind the last chunk that counts,
and an update of somebody else in between is never overwritten: the row is read again. While one chunk is written, the
next goes through the key service and the one behind it is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import psycopg

from sensmail.keyd.errors import Unavailable
from sensmail.keyd.protocol import MAX_ITEMS
from sensmail.rotation import state
from sensmail.rotation.errors import RotationError, told
from sensmail.rotation.model import JOBS, Changes, Chunk, Refusal, Table, Wanted
from sensmail.rotation.progress import Progress
from sensmail.rotation.statements import Statements
from sensmail.rotation.transform import Transform
from sensmail.store import Connection, Settings, Unreachable, connect, load

MOST_ROWS = 10_000  # a chunk
FIRST_ROWS = 1_000  # before it is known how long the values are
CHUNK_BYTES = 16 * 2**20
LOCK_TIMEOUT = "500ms"  # shorter than deadlock_timeout: whoever waits for us never loses a deadlock
TRIES = 3  # for a row that a writer changes again and again; after that the next pass sees it
PATIENCE_S = 120.0  # with database or key service away, once rows have moved
START_PATIENCE_S = 60.0  # before that: long enough for a restart, short enough to be told of a wrong setting

Result = TypeVar("Result")


@dataclass(frozen=True)
class Sessions:
    """Where to log in: the databases of one server."""

    settings: Settings

    @classmethod
    def here(cls) -> Sessions:
        """Of this host's settings."""
        return cls(load())

    def engine(self) -> Connection:
        """On the engine's database, which keeps register and jobs. What it commits is on disk, and all before it.

        Raises:
            ForeignState, Unreachable.
        """
        connection = self._session(JOBS, None)
        try:
            connection.execute("SET synchronous_commit = on")
            state.check_own_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def on(self, place: Table | Wanted) -> Connection:
        """On the database of a table."""
        return self._session(place.login, place.database)

    def _session(self, login: str, database: str | None) -> Connection:
        """A database's owner may set its search path, and may put functions and operators of any name into it."""
        connection = connect(login, settings=self.settings, database=database)
        connection.execute("SET search_path = pg_catalog, pg_temp")
        return connection


def run_pass(sessions: Sessions, table: Table, transform: Transform, job: UUID, phase: str, progress: Progress) -> None:
    """Bring a pass to its end, from where it stands.

    Raises:
        RotationError: the database refuses a new value. psycopg.OperationalError, KeyServiceError: go on later.
    """
    statements = Statements(table)
    with sessions.on(table) as writer, sessions.on(table) as reader, ThreadPoolExecutor(2) as ahead:
        position = state.begin_pass(writer, job, table, phase)
        if position.ended:
            return
        progress.phase(phase, statements.count(reader), position.seen)
        writer.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        statements.prepare(writer)
        chunks = _Chunks(statements, reader, transform, ahead, position.after)
        coming = ahead.submit(chunks.next)
        while (chunk := coming.result()) is not None:
            rows, changes = chunk
            coming = ahead.submit(chunks.next)
            _write(writer, statements, transform, rows, changes, job, phase)
            progress.moved(len(rows))
        state.move(writer, job, table, phase, None, 0, 0)
    progress.end()


class _Chunks:
    """Reads and transforms in threads of their own, one chunk each."""

    def __init__(
        self, statements: Statements, reader: Connection, transform: Transform, ahead: Executor,
        after: tuple[bytes, ...] | None,
    ) -> None:  # fmt: skip
        self._statements, self._reader, self._transform, self._ahead = statements, reader, transform, ahead
        self._size, self._most = FIRST_ROWS, min(MOST_ROWS, MAX_ITEMS // len(statements.table.columns))  # in one call
        self._coming = ahead.submit(self._read, after)

    def next(self) -> tuple[Chunk, Changes] | None:
        rows = self._coming.result()
        if not len(rows):
            return None
        self._coming = self._ahead.submit(self._read, rows.key(-1))
        return rows, self._transform(rows)

    def _read(self, after: tuple[bytes, ...] | None) -> Chunk:
        rows = self._statements.read(self._reader, after, self._size)
        size = sum(len(value) for column in rows.values for value in column if value is not None)
        self._size = max(1, min(self._most, len(rows) * CHUNK_BYTES // max(size, 1)))
        return rows


def _write(
    writer: Connection, statements: Statements, transform: Transform, rows: Chunk, changes: Changes, job: UUID,
    phase: str,
) -> None:  # fmt: skip
    table, changed = statements.table, 0
    refused: list[Refusal] = list(changes.refused)
    try:
        with writer.transaction():
            for _ in range(TRIES):
                if not len(changes.rows):
                    break
                written = statements.write(writer, changes)
                changed += written
                if written == len(changes.rows):
                    break
                changes = transform(statements.overtaken(writer))
                refused += changes.refused
            state.refuse(writer, job, table, refused)
            state.move(writer, job, table, phase, rows.key(-1), len(rows), changed)
    except psycopg.OperationalError:
        raise  # temporary
    except psycopg.Error as error:
        raise RotationError(f"{table}: the database refuses sealed values, nothing of this chunk was written: "
                            f"{told(error)}") from None  # fmt: skip


def persist(action: Callable[[], Result], progress: Progress) -> Result:
    """Carry out a resumable action, again and again while database or key service are away, as a new run would.

    Raises:
        The last error, when no row moved for the time of patience.
    """
    began = progress.moved_at = time.monotonic()
    pause = 0.1
    while True:
        before = progress.moved_at
        try:
            return action()
        except (psycopg.OperationalError, Unreachable, Unavailable) as error:
            patience = PATIENCE_S if progress.moved_at > began else START_PATIENCE_S
            if time.monotonic() - progress.moved_at > patience:
                raise
            pause = 0.1 if progress.moved_at > before else min(pause * 2, 5.0)
            progress.waiting(told(error) if isinstance(error, psycopg.Error) else str(error))
            time.sleep(pause)
