"""The statements of a pass over one table. Every name is an identifier, every value a parameter or binary COPY."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import sql

from sensmail.rotation.model import Changes, Chunk, Table
from sensmail.rotation.rowkey import parameters
from sensmail.store import Connection

_STAGE = sql.Identifier("pg_temp", "sensmail_stage")
# Every value in PostgreSQL's binary form, as bytea: read in one answer and not turned into Python objects.
_SEND = {"uuid": "uuid_send({})", "bigint": "int8send({}::bigint)", "text": "textsend({}::text)", "bytea": "{}::bytea"}


class Statements:
    """Reads and writes rows of one table in chunks, in the order of its primary key."""

    def __init__(self, table: Table) -> None:
        keys = [sql.Identifier("t", each.name) for each in table.key]
        values = [sql.Identifier("t", each.name) for each in table.columns]
        subject = sql.Identifier("t", table.subject)
        self.table = table
        self._values = values
        self._keys = sql.SQL("({})").format(_list(keys))
        self._edge = sql.SQL("({})").format(_list(sql.SQL("%s::{}").format(sql.SQL(key.cast)) for key in table.key))
        self._read = _list(
            sql.SQL(_SEND[cast]).format(name)
            for name, cast in [
                *((name, key.cast) for name, key in zip(keys, table.key, strict=True)),
                (subject, "uuid"),
                *((name, column.cast) for name, column in zip(values, table.columns, strict=True)),
            ]
        )
        self._filled = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(name) for name in values)
        self._same_row = _and(sql.SQL("{} = s.{}").format(name, sql.Identifier(f"k{n}")) for n, name in enumerate(keys))
        self._unmoved = _and([
            sql.SQL("{} IS NOT DISTINCT FROM s.subject").format(subject),
            *(
                sql.SQL("{} IS NOT DISTINCT FROM s.{}").format(_bytewise(column.text, name), sql.Identifier(f"old{n}"))
                for n, (column, name) in enumerate(zip(table.columns, values, strict=True))
            ),
        ])  # fmt: skip
        self._set = _list(
            sql.SQL("{} = s.{}").format(sql.Identifier(column.name), sql.Identifier(f"new{n}"))
            for n, column in enumerate(table.columns)
        )

    def count(self, connection: Connection) -> int:
        """Rows that hold a value in any of the columns."""
        query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(self.table.identifier, self._filled)
        return int(connection.execute(query).fetchall()[0][0])

    def read(self, connection: Connection, after: tuple[bytes, ...] | None, rows: int) -> Chunk:
        """The next rows after a key that hold a value."""
        query = sql.SQL("SELECT {} FROM {} AS t WHERE ({})").format(self._read, self.table.identifier, self._filled)
        values: list[Any] = []
        if after is not None:
            query += sql.SQL(" AND {} > {}").format(self._keys, self._edge)
            values = parameters(self.table.key, after)
        query += sql.SQL(" ORDER BY {} LIMIT {}").format(sql.SQL(", ").join(self._order()), sql.Literal(rows))
        return self._fetched(connection, query, values)

    def prepare(self, connection: Connection) -> None:
        """Make the temporary table that new values pass through, once a session."""
        columns = [
            *(_as(sql.Identifier("t", key.name), key.cast, f"k{n}") for n, key in enumerate(self.table.key)),
            _as(sql.Identifier("t", self.table.subject), "uuid", "subject"),
            *(
                sql.SQL("{} AS {}").format(_bytewise(each.text, name), sql.Identifier(f"{age}{n}"))
                for age in ("old", "new")
                for n, (each, name) in enumerate(zip(self.table.columns, self._values, strict=True))
            ),
        ]
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} AS t WITH NO DATA").format(
                _STAGE, _list(columns), self.table.identifier
            )
        )

    def write(self, connection: Connection, changes: Changes) -> int:
        """In a transaction: put new values where the old ones still stand; ordered by key. Returns how many rows."""
        connection.execute(sql.SQL("DELETE FROM {}").format(_STAGE))  # of this transaction
        rows = changes.rows
        with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(_STAGE)) as copy:
            for row in zip(*rows.keys, rows.subjects, *rows.values, *changes.new, strict=True):
                copy.write_row(row)
        update = sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {} AND {} BETWEEN {} AND {} AND {}").format(
            self.table.identifier, self._set, _STAGE, self._same_row, self._keys, self._edge, self._edge, self._unmoved
        )
        key = self.table.key
        edges = [*parameters(key, rows.key(0)), *parameters(key, rows.key(-1))]
        return connection.execute(update, edges, prepare=False).rowcount

    def overtaken(self, connection: Connection) -> Chunk:
        """After `write`, in its transaction: rows that a writer changed in between, as they are now."""
        changed = sql.SQL(" OR ").join(
            sql.SQL("{} IS DISTINCT FROM s.{}").format(
                _bytewise(column.text, sql.Identifier("t", column.name)), sql.Identifier(f"new{n}")
            )
            for n, column in enumerate(self.table.columns)
        )
        query = sql.SQL("SELECT {} FROM {} AS t JOIN {} AS s ON {} WHERE ({}) AND ({}) ORDER BY {}").format(
            self._read, self.table.identifier, _STAGE, self._same_row, changed, self._filled,
            sql.SQL(", ").join(self._order()),
        )  # fmt: skip
        return self._fetched(connection, query, [])

    def _order(self) -> list[sql.Identifier]:
        return [sql.Identifier("t", each.name) for each in self.table.key]

    def _fetched(self, connection: Connection, query: sql.Composed, values: list[Any]) -> Chunk:
        keys = len(self.table.key)
        found = connection.execute(query, values, prepare=False, binary=True).fetchall()
        columns = list(zip(*found, strict=True)) or [()] * (keys + 1 + len(self.table.columns))
        return Chunk(columns[:keys], columns[keys], columns[keys + 1 :])


def _bytewise(text: bool, name: sql.Identifier) -> sql.Composed:
    """A column as it is compared: text byte by byte, whatever its collation takes for equal."""
    return sql.SQL('{}::text COLLATE "C"' if text else "{}::bytea").format(name)


def _as(name: sql.Identifier, cast: str, alias: str) -> sql.Composed:
    return sql.SQL("{}::{} AS {}").format(name, sql.SQL(cast), sql.Identifier(alias))


def _list(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _and(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(parts)
