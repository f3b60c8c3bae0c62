"""Migrations: numbered SQL files, each applied once, whole, and in order.

A file is one transaction, so a run that is cut off resumes with the first file that did not commit. An applied
file never changes: its digest is kept. A change of form is made in two releases: the first only adds (expand),
and a later one removes what nothing reads any more (contract), so that flipping back to the release before works.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg
from psycopg import sql

from sensmail.store.connection import Connection
from sensmail.store.errors import StoreError
from sensmail.store.roles import OWNER

_FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LOCK_KEY = 0x73656E736D61696C  # "sensmail"; a session lock, so that it also covers the time between two files
_LOCK_WAIT = "60s"

_REGISTER = """
    CREATE SCHEMA IF NOT EXISTS store;
    CREATE TABLE IF NOT EXISTS store.migration (
        number     integer PRIMARY KEY,
        name       text NOT NULL,
        sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
        applied_at timestamptz NOT NULL DEFAULT now()
    );
"""


@dataclass(frozen=True)
class Migration:
    """One SQL file of this engine."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Digest of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Applied:
    """One migration as the database remembers it."""

    number: int
    name: str
    sha256: str
    applied_at: datetime


def available(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """The migrations of this engine, in order.

    Raises:
        StoreError: a file name is not `NNNN_words.sql`, or the numbers are not 1, 2, 3, …
    """
    found = []
    for file in (folder or resources.files("sensmail.store") / "migrations").iterdir():
        match = _FILE_NAME.match(file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
        elif file.name.endswith(".sql"):
            raise StoreError(f"migration {file.name}: name it NNNN_words.sql, for example 0007_add_label.sql")
    found.sort(key=lambda migration: migration.name)
    for position, migration in enumerate(found, start=1):
        if migration.number != position:
            raise StoreError(f"migration {migration.name}: number {position:04d} was expected; leave no gaps")
    return tuple(found)


def applied(connection: Connection) -> tuple[Applied, ...]:
    """The migrations that the database has, in order; none when it is new."""
    row = connection.execute("SELECT to_regclass('store.migration') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return ()
    rows = connection.execute("SELECT number, name, sha256, applied_at FROM store.migration ORDER BY number")
    return tuple(Applied(*fields) for fields in rows.fetchall())


def pending(files: Sequence[Migration], present: Iterable[Applied]) -> tuple[Migration, ...]:
    """What is still to apply. Pure.

    Raises:
        StoreError: the database has a migration that this engine does not know, or knows with other content, or
            lacks one that comes before one it has.
    """
    known = {file.number: file for file in files}
    done = {row.number for row in present}
    for row in present:
        file = known.get(row.number)
        if file is None:
            raise StoreError(
                f"the database has migration {row.name}, which this engine does not know: it was deployed by a newer "
                "release. Deploy that release or a later one"
            )
        if (file.name, file.sha256) != (row.name, row.sha256):
            raise StoreError(
                f"migration {file.name} differs from {row.name} as it was applied at {row.applied_at:%Y-%m-%d %H:%M} "
                f"(sha256 {row.sha256[:12]}…, now {file.sha256[:12]}…). Restore the file; put the change into a new one"
            )
    rest = tuple(file for file in files if file.number not in done)
    if rest and done and rest[0].number < max(done):
        raise StoreError(
            f"the database lacks migration {rest[0].name} but has number {max(done):04d}: "
            "its register store.migration was altered by hand. Restore the row, or the database"
        )
    return rest


def run(
    connection: Connection,
    files: Sequence[Migration] | None = None,
) -> tuple[Migration, ...]:
    """Apply what is pending, one transaction per file, as the owner of the schemas.

    Args:
        connection: session of a superuser on the engine's database, in autocommit mode.
        files: migrations to use; default: those of this engine.

    Raises:
        StoreError: see `pending`; or a statement failed; or another run holds the lock for too long.
    """
    files = available() if files is None else files
    _lock(connection)
    try:
        todo = pending(files, applied(connection))
        for migration in todo:
            _apply(connection, migration)
        return todo
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_KEY,))


def _lock(connection: Connection) -> None:
    connection.execute(sql.SQL("SET lock_timeout = {}").format(_LOCK_WAIT))
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
    except psycopg.errors.LockNotAvailable as error:
        raise StoreError(
            f"another migration run is at work for {_LOCK_WAIT} now; wait for it, then run again"
        ) from error
    finally:
        connection.execute("RESET lock_timeout")


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
            connection.execute(_REGISTER)
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO store.migration (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.sha256),
            )
    except psycopg.Error as error:
        raise StoreError(f"migration {migration.name} was rolled back: {str(error).strip()}") from error
