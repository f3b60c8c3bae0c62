"""What plaintext leaves behind in a table, and how it goes: guard, rewrite, statistics, checkpoint, WAL switch.

What this does not reach: blocks of the disk that were given back, WAL from before (until PostgreSQL has written over
it, or the archive expires), replicas until they have followed, and backups.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from sensmail.fields import text
from sensmail.fields.envelope import OVERHEAD
from sensmail.rotation.errors import Busy, RotationError, told
from sensmail.rotation.inspect import GUARD
from sensmail.rotation.model import Column, Table
from sensmail.rotation.progress import Progress
from sensmail.store import Connection

LOCK_TIMEOUT = "2s"  # a lock on the whole table makes others queue behind it
WAIT_S = 600.0

_CLEAR_TEXT = "count(*) FILTER (WHERE {}::text COLLATE \"C\" !~ '^sealed:v[0-9]+:')"
_CLEAR_BYTES = "count(*) FILTER (WHERE NOT (substring({0} FROM 1 FOR 1) = '\\x01' AND octet_length({0}) >= {1}))"

# Sessions, prepared transactions and slots that keep rows of before alive.
_HOLDERS = """
    SELECT format('session %%s of %%s', pid, usename) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND age(backend_xmin) >= age(%(now)s::xid)
      AND (datname = current_database() OR datname IS NULL) AND backend_type <> 'autovacuum worker'
    UNION ALL SELECT format('prepared transaction %%s', gid) FROM pg_prepared_xacts
    WHERE age(transaction) >= age(%(now)s::xid)
    UNION ALL SELECT format('replication slot %%s', slot_name) FROM pg_replication_slots
    WHERE age(xmin) >= age(%(now)s::xid)
"""


def in_clear(connection: Connection, table: Table) -> dict[str, int]:
    """How many values of each column are in clear; needs no key."""
    counts = [
        sql.SQL(_CLEAR_TEXT if column.text else _CLEAR_BYTES).format(sql.Identifier(column.name), sql.Literal(OVERHEAD))
        for column in table.columns
    ]
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(counts), table.identifier)
    found = connection.execute(query).fetchall()[0]
    return {column.name: count for column, count in zip(table.columns, found, strict=True)}


def guard(connection: Connection, table: Table, progress: Progress) -> bool:
    """A constraint on each column that lets no plaintext in; does not look at present rows. Returns whether new."""
    missing = [column for column in table.columns if not column.by_type and _guarded(connection, table, column) is None]
    for column in missing:
        statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({}) NOT VALID").format(
            table.identifier, _name(column), _form(column)
        )
        _patiently(connection, table, statement, progress)
    return bool(missing)


def validate(connection: Connection, table: Table, progress: Progress) -> None:
    """Every row meets the guard.

    Raises:
        RotationError: one does not.
    """
    for column in table.columns:
        if not column.by_type and _guarded(connection, table, column) is False:
            statement = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(table.identifier, _name(column))
            _patiently(connection, table, statement, progress)


def rewrite(connection: Connection, table: Table, progress: Progress) -> None:
    """Write table and indexes anew from the rows that live, so that no file of them holds what was before.

    Locks the table while it runs: readers and writers wait. Needs the rights of its owner, pg_checkpoint, and
    pg_switch_wal.

    Raises:
        Busy: a transaction keeps old rows alive, or the table stays locked. RotationError.
    """
    _wait_for_old_snapshots(connection, table, progress)
    _patiently(connection, table, sql.SQL("VACUUM (FULL, ANALYZE) {}").format(table.identifier), progress)
    # its most common values stood there in clear
    _patiently(connection, table, sql.SQL("VACUUM FULL pg_catalog.pg_statistic"), progress)
    _patiently(connection, table, sql.SQL("CHECKPOINT"), progress)
    _patiently(connection, table, sql.SQL("SELECT pg_switch_wal()"), progress)


def _wait_for_old_snapshots(connection: Connection, table: Table, progress: Progress) -> None:
    now = connection.execute("SELECT pg_current_xact_id()::text").fetchall()[0][0]
    until = time.monotonic() + WAIT_S
    while holders := [text for (text,) in connection.execute(_HOLDERS, {"now": str(int(now) % 2**32)}).fetchall()]:
        if time.monotonic() > until:
            raise Busy(f"{table}: {'; '.join(holders)} keep old rows alive, plaintext among them; end them, run again")
        progress.waiting(f"{'; '.join(holders)} may still see plaintext")
        time.sleep(1.0)


def _patiently(connection: Connection, table: Table, statement: sql.SQL | sql.Composed, progress: Progress) -> None:
    """Carry out a statement that locks the table for a moment, or for long; give way to others in between."""
    until = time.monotonic() + WAIT_S
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    while True:
        try:
            connection.execute(statement)
            return
        except psycopg.errors.LockNotAvailable as error:
            if time.monotonic() > until:
                raise Busy(f"{table}: others keep it locked; run again when it is quiet") from error
            progress.waiting(f"{table} is locked by others")
            time.sleep(1.0)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation) as error:
            fix = f"{statement.as_string(connection)} needs a login role with the right to, such as postgres"
            if isinstance(error, psycopg.errors.CheckViolation):
                fix = "a value in clear was written meanwhile; run again"
            raise RotationError(f"{table}: {told(error)}; {fix}") from None


def _guarded(connection: Connection, table: Table, column: Column) -> bool | None:
    """Whether the guard is valid for every row; None where there is none."""
    rows = connection.execute(
        "SELECT k.convalidated FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE (n.nspname, c.relname, k.conname) = (%s, %s, %s)",
        (table.schema, table.name, _plain_name(column)),
    ).fetchall()
    return rows[0][0] if rows else None


def _form(column: Column) -> sql.Composed:
    name = sql.Identifier(column.name)
    if column.text:
        body = text.SHORTEST - len(text.PREFIX)
        return sql.SQL('{} COLLATE "C" ~ {}').format(name, f"^{text.PREFIX.decode()}[A-Za-z0-9_-]{{{body},}}$")
    return sql.SQL("substring({0} FROM 1 FOR 1) = '\\x01' AND octet_length({0}) >= {1}").format(name, OVERHEAD)


def _plain_name(column: Column) -> str:
    return f"{GUARD}{column.field}"  # the field number is unique for good and short; names may have 63 bytes already


def _name(column: Column) -> sql.Identifier:
    return sql.Identifier(_plain_name(column))
