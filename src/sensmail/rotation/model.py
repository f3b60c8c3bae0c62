"""What a pass works on: sealed columns of one table, as asked for and as found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import sql

JOBS = "sensmail-jobs"  # the role that passes over the engine's own tables


@dataclass(frozen=True)
class Wanted:
    """One column that is to be sealed.

    Attributes:
        database: its database; all of them are on the server of the engine's database.
        login: role to log in as.
        subject: column with the id of the person that a row belongs to.
        field: permanent field number of the data map.
    """

    database: str
    schema: str
    table: str
    column: str
    subject: str
    field: int
    login: str = JOBS

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.table}.{self.column}"

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is in its database."""
        return self.schema, self.table, self.column


@dataclass(frozen=True)
class KeyColumn:
    """A column of the primary key; `kind` is its type in a row key (docs/formats.md), `cast` its type on the wire."""

    name: str
    kind: int
    cast: str


@dataclass(frozen=True)
class Column:
    """A column that holds sealed values, as envelopes (`bytea`) or in their text form."""

    name: str
    field: int
    text: bool
    by_type: bool  # the type itself, a domain of the engine, lets no plaintext in
    limit: int | None = None  # characters

    @property
    def cast(self) -> str:
        """Its type on the wire."""
        return "text" if self.text else "bytea"


@dataclass(frozen=True)
class Table:
    """A table as it was found, fit for passes."""

    database: str
    login: str
    schema: str
    name: str
    key: tuple[KeyColumn, ...]
    subject: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in a statement."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table, column by column; every value in PostgreSQL's binary form.

    Attributes:
        keys: the columns of the primary key.
        subjects: whom each row belongs to.
        values: the sealed columns.
    """

    keys: Sequence[Sequence[bytes]]
    subjects: Sequence[bytes | None]
    values: Sequence[Sequence[bytes | None]]

    def __len__(self) -> int:
        return len(self.subjects)

    def key(self, number: int) -> tuple[bytes, ...]:
        """The primary key of a row."""
        return tuple(column[number] for column in self.keys)


@dataclass(frozen=True)
class Refusal:
    """A value that is left as it is: primary key of its row, name of its column, why."""

    key: tuple[bytes, ...]
    column: str
    reason: str


@dataclass(frozen=True)
class Changes:
    """What became of some rows: those that change, beside them their new values, and what was refused."""

    rows: Chunk
    new: Sequence[Sequence[bytes | None]]  # as Chunk.values
    refused: Sequence[Refusal]
