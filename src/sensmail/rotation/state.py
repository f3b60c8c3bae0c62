"""What rotation remembers in the database: register of columns, jobs, how far a pass has come, what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from uuid import UUID

import psycopg

from sensmail.rotation.errors import Busy, ForeignState, RotationError
from sensmail.rotation.model import Refusal, Table, Wanted
from sensmail.rotation.rowkey import shown
from sensmail.store import Connection
from sensmail.store.roles import OWNER

_LOCK = 0x726F74617465  # "rotate"
_LOCK_WAIT = "30s"  # the session of a run that was killed ends soon
_DDL = resources.files("sensmail.store") / "migrations" / "0003_rotation.sql"


@dataclass(frozen=True)
class Job:
    """One run of something, over as many processes as it takes."""

    id: UUID
    kind: str
    phase: str


@dataclass(frozen=True)
class Position:
    """How far a pass has come: key of the last row that is done; rows seen and changed."""

    after: tuple[bytes, ...] | None
    seen: int
    changed: int
    ended: bool


# A column of the engine's database that was renamed: its values are bound to the field number, not to the name.
_RENAMED = """
    UPDATE sensmail_rotation.protected_column AS p
    SET schema_name = %(schema)s, table_name = %(table)s, column_name = %(column)s, subject_column = %(subject)s
    WHERE p.field = %(field)s AND p.database_name = %(database)s AND p.database_name = current_database()
      AND NOT EXISTS (
          SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE (n.nspname, c.relname, a.attname) = (p.schema_name, p.table_name, p.column_name))
"""


def ensure_schema(connection: Connection) -> None:
    """In a foreign database: make our schema there, by the migration of the engine's own.

    Raises:
        ForeignState: it is there, and is not the login role's own.
    """
    owner = _owner(connection)
    if owner is None:
        with connection.transaction():
            connection.execute(_DDL.read_bytes())
        return
    login = connection.execute("SELECT session_user::text").fetchall()[0][0]
    _expect_owner(connection, owner, login, f"look at what is in it, and drop it or log in as {owner}")


def check_own_schema(connection: Connection) -> None:
    """In the engine's database: our schema is that of the migrations.

    Raises:
        ForeignState: somebody else made it.
    """
    owner = _owner(connection)
    if owner is not None:
        _expect_owner(connection, owner, OWNER, "look at what is in it, drop it, and run role database again")


def _owner(connection: Connection) -> str | None:
    query = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'sensmail_rotation'"
    rows = connection.execute(query).fetchall()
    return rows[0][0] if rows else None


def _expect_owner(connection: Connection, owner: str, wanted: str, fix: str) -> None:
    if owner != wanted:
        raise ForeignState(
            f"{connection.info.dbname}: schema sensmail_rotation belongs to {owner}, not to {wanted}; {fix}"
        )


def take_lock(connection: Connection) -> None:
    """Hold the one lock of all rotation until the session ends.

    Raises:
        Busy: another run is at work.
    """
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise Busy("another run of protect or reseal is at work; wait for it: it does the same") from error


def register(connection: Connection, wanted: Sequence[Wanted]) -> int:
    """Put columns on the register, before the first value is sealed: a census counts them from then on.

    Returns how many were new.

    Raises:
        RotationError: a field number belongs to another column.
    """
    new = 0
    for each in wanted:
        place = (each.database, each.schema, each.table, each.column)
        connection.execute(_RENAMED, vars(each))
        try:
            new += connection.execute(
                "INSERT INTO sensmail_rotation.protected_column AS p"
                " (database_name, schema_name, table_name, column_name, login, subject_column, field)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (database_name, schema_name, table_name, column_name)"
                " DO UPDATE SET login = excluded.login"
                " WHERE (p.field, p.subject_column) = (excluded.field, excluded.subject_column)",
                (*place, each.login, each.subject, each.field),
            ).rowcount
        except psycopg.errors.UniqueViolation as error:
            fix = "a field number is never used twice, or values could be moved; give this column a new one"
            raise RotationError(f"{each}: field number {each.field} belongs to another column; {fix}") from error
        row = connection.execute(
            "SELECT field, subject_column FROM sensmail_rotation.protected_column"
            " WHERE (database_name, schema_name, table_name, column_name) = (%s, %s, %s, %s)",
            place,
        ).fetchall()[0]
        if row != (each.field, each.subject):
            fix = "sealed values are bound to them: write these into the data map or the task again"
            raise RotationError(f"{each}: is sealed as field {row[0]} of subject column {row[1]}; {fix}")
    return new


def registered(connection: Connection) -> list[Wanted]:
    """Every column on the register."""
    rows = connection.execute(
        "SELECT database_name, schema_name, table_name, column_name, subject_column, field, login"
        " FROM sensmail_rotation.protected_column ORDER BY 1, 2, 3, 4"
    )
    return [Wanted(*row) for row in rows]


def protected_from(connection: Connection, table: Table) -> dict[str, datetime | None]:
    """Since when the columns of a table are protected; None where that has not been brought to its end."""
    rows = connection.execute(
        "SELECT column_name, protected_from FROM sensmail_rotation.protected_column"
        " WHERE (database_name, schema_name, table_name) = (%s, %s, %s)",
        (table.database, table.schema, table.name),
    ).fetchall()
    dates: dict[str, datetime | None] = dict(rows)
    return {column.name: dates.get(column.name) for column in table.columns}


def set_protected(connection: Connection, table: Table) -> None:
    """The columns of a table are protected from now on; an earlier date stays."""
    connection.execute(
        "UPDATE sensmail_rotation.protected_column SET protected_from = coalesce(protected_from, now())"
        " WHERE (database_name, schema_name, table_name) = (%s, %s, %s) AND column_name = ANY (%s)",
        (table.database, table.schema, table.name, [column.name for column in table.columns]),
    )


def unset_protected(connection: Connection, table: Table) -> None:
    """Plaintext came again: the date is void."""
    connection.execute(
        "UPDATE sensmail_rotation.protected_column SET protected_from = NULL"
        " WHERE (database_name, schema_name, table_name) = (%s, %s, %s) AND column_name = ANY (%s)",
        (table.database, table.schema, table.name, [column.name for column in table.columns]),
    )


# jobs


def open_job(connection: Connection, kind: str, phase: str, *, reason: str = "", approver: str = "") -> Job:
    """The open job of a kind, where one was cut off; else a new one that begins with a phase."""
    connection.execute(
        "INSERT INTO sensmail_rotation.job (kind, phase, reason, approver) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (kind) WHERE ended_at IS NULL DO NOTHING",
        (kind, phase, reason, approver),
    )
    found = find_job(connection, kind)
    if found is None:  # it ended in this moment, which the lock does not let happen
        raise Busy(f"the job {kind} ended while it was taken up; run again")
    return found


def find_job(connection: Connection, kind: str) -> Job | None:
    """The open job of a kind."""
    rows = connection.execute(
        "SELECT id, kind, phase FROM sensmail_rotation.job WHERE kind = %s AND ended_at IS NULL", (kind,)
    ).fetchall()
    return Job(*rows[0]) if rows else None


def set_phase(connection: Connection, job: Job, phase: str) -> None:
    """The phase that begins."""
    connection.execute("UPDATE sensmail_rotation.job SET phase = %s, changed_at = now() WHERE id = %s", (phase, job.id))


def end_job(connection: Connection, job: Job) -> None:
    """All of it is done."""
    connection.execute(
        "UPDATE sensmail_rotation.job SET phase = 'done', changed_at = now(), ended_at = now() WHERE id = %s", (job.id,)
    )


def last_end(connection: Connection, kind: str) -> datetime | None:
    """When a job of a kind was last brought to its end."""
    rows = connection.execute("SELECT max(ended_at) FROM sensmail_rotation.job WHERE kind = %s", (kind,)).fetchall()
    return rows[0][0]  # type: ignore[no-any-return]


# passes


def begin_pass(connection: Connection, job: UUID, table: Table, phase: str) -> Position:
    """Where a pass goes on; at the start of the table when it is new or was brought to its end before."""
    place = (job, table.schema, table.name, phase)
    connection.execute(
        "INSERT INTO sensmail_rotation.pass (job, schema_name, table_name, phase) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        place,
    )
    row = connection.execute(
        "SELECT after, seen, changed, ended_at IS NOT NULL FROM sensmail_rotation.pass"
        " WHERE (job, schema_name, table_name, phase) = (%s, %s, %s, %s)",
        place,
    ).fetchall()[0]
    position = Position(tuple(row[0]) if row[0] is not None else None, *row[1:])
    if position.after is None and not position.ended:  # what was refused before is looked at again
        connection.execute(
            "DELETE FROM sensmail_rotation.refused WHERE (job, schema_name, table_name) = (%s, %s, %s)", place[:3]
        )
    return position


def restart_pass(connection: Connection, job: UUID, table: Table, phase: str) -> None:
    """The next pass over the table begins at its first row."""
    connection.execute(
        "UPDATE sensmail_rotation.pass SET after = NULL, seen = 0, ended_at = NULL"
        " WHERE (job, schema_name, table_name, phase) = (%s, %s, %s, %s)",
        (job, table.schema, table.name, phase),
    )


def move(
    connection: Connection, job: UUID, table: Table, phase: str, after: tuple[bytes, ...] | None,
    seen: int, changed: int,
) -> None:  # fmt: skip
    """In the transaction of a chunk: it is done. `after` None: the table is."""
    connection.execute(
        "UPDATE sensmail_rotation.pass SET after = coalesce(%s, after), seen = seen + %s, changed = changed + %s,"
        " ended_at = CASE WHEN %s THEN now() END"
        " WHERE (job, schema_name, table_name, phase) = (%s, %s, %s, %s)",
        (list(after) if after else None, seen, changed, after is None, job, table.schema, table.name, phase),
    )


def refuse(connection: Connection, job: UUID, table: Table, refused: Sequence[Refusal]) -> None:
    """In the transaction of a chunk: what was left as it is."""
    place = (job, table.schema, table.name)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO sensmail_rotation.refused (job, schema_name, table_name, column_name, row_key, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (job, schema_name, table_name, column_name, row_key)"
            " DO UPDATE SET reason = excluded.reason",
            [(*place, each.column, shown(table.key, each.key), each.reason) for each in refused],
        )


def refusals(connection: Connection, job: UUID, table: Table, most: int = 20) -> tuple[int, list[str]]:
    """How many values of a table were refused, and the first of them."""
    where = "WHERE (job, schema_name, table_name) = (%s, %s, %s)"
    place = (job, table.schema, table.name)
    count = connection.execute(f"SELECT count(*) FROM sensmail_rotation.refused {where}", place).fetchall()[0][0]
    rows = connection.execute(
        "SELECT format('%%s.%%s.%%s, row %%s: %%s', schema_name, table_name, column_name, row_key, reason)"
        f" FROM sensmail_rotation.refused {where} ORDER BY 1 LIMIT {most:d}",
        place,
    ).fetchall()
    return count, [text for (text,) in rows]
