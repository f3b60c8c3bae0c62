"""What others do to bring a table under new keys, with a reader and a writer at work on it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, MultiFernet

from bench.beside import Key, others
from bench.harness import stopwatch
from sensmail.store import SUPERUSER, Connection, Settings, connect

SHAPE = "(person uuid, number int, value bytea, PRIMARY KEY (person, number)) WITH (fillfactor = 50)"
CHUNKS = (1_000, 5_000, 20_000)  # rows; MultiFernet gets the best of them


@dataclass(frozen=True)
class _Tokens:
    """Fernet tokens under any of these keys; new ones under the first."""

    keys: Sequence[bytes]
    table: str = "small"

    @cached_property
    def _fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(each) for each in self.keys])

    def open(self, _: Key, value: bytes) -> bool:
        """In the process itself."""
        return bool(self._fernet.decrypt(value))

    def seal(self, _: Key, value: bytes) -> bytes:
        """In the process itself."""
        return self._fernet.encrypt(value)


def other_sides(database: Settings, rows: int) -> dict[str, Any]:
    """Rows a second of each, over so many rows of the table `sealed`."""
    keys = [
        Fernet.generate_key() for _ in range(len(CHUNKS) + 1)
    ]  # oldest to newest: a rotation for each size of chunk
    _fill(database, rows, Fernet(keys[0]))
    tokens = _Tokens(keys[::-1])
    rates = {}
    with others(tokens, database) as seen:
        for size, old, new in zip(CHUNKS, keys[:-1], keys[1:], strict=True):
            rotation = MultiFernet([Fernet(new), Fernet(old), Fernet(keys[-1])])  # the last: the writer's
            rates[size] = rows / stopwatch(partial(_rotate, database, rotation, size))
        beside = seen()
    with others(tokens, database):
        return {
            "multifernet_by_chunk": rates,
            "multifernet_beside": beside,
            "row_by_row_rows_per_s": round(_row_by_row(database, max(rows // 20, 1))),
            "pgcrypto_default_rows_per_s": round(_pgcrypto(database, max(rows // 100, 1), "")),
            "pgcrypto_weak_key_rows_per_s": round(_pgcrypto(database, max(rows // 2, 1), ", 's2k-mode=0'")),
        }


def _fill(database: Settings, rows: int, fernet: Fernet) -> None:
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute(f"CREATE TABLE small {SHAPE}")
        keys = connection.execute("SELECT person, number FROM sealed LIMIT %s", (rows,)).fetchall()
        with connection.cursor().copy("COPY small FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["uuid", "int4", "bytea"])
            for key in keys:
                copy.write_row((*key, fernet.encrypt(b"person-%d@mail.example.kr" % key[1])))
        connection.execute("VACUUM (ANALYZE) small")


def _rotate(database: Settings, fernet: MultiFernet, size: int) -> None:
    """Every token under the newest key."""
    read = (
        "SELECT person, number, value FROM small WHERE (person, number) > (%s, %s)"
        f" ORDER BY person, number LIMIT {size:d}"
    )
    after: Key = UUID(int=0), 0
    with (
        connect(SUPERUSER, settings=database) as reader,
        connect(SUPERUSER, settings=database) as writer,
        ThreadPoolExecutor(1) as behind,
    ):
        writer.execute("CREATE TEMPORARY TABLE stage (LIKE small) ON COMMIT DELETE ROWS")
        written = behind.submit(int)
        while rows := reader.execute(read, after, binary=True).fetchall():
            made = [(person, number, fernet.rotate(value)) for person, number, value in rows]
            written.result()
            written = behind.submit(_put, writer, made)
            after = rows[-1][:2]
        written.result()


def _put(connection: Connection, rows: list[tuple[UUID, int, bytes]]) -> int:
    """One chunk, in the order of its keys."""
    with connection.transaction():
        with connection.cursor().copy("COPY stage FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["uuid", "int4", "bytea"])
            for row in rows:
                copy.write_row(row)
        connection.execute(
            "UPDATE small AS t SET value = s.value FROM stage AS s WHERE t.person = s.person AND t.number = s.number"
            " AND (t.person, t.number) BETWEEN (%s, %s) AND (%s, %s)",
            (*rows[0][:2], *rows[-1][:2]),
            prepare=False,
        )
    return len(rows)


def _row_by_row(database: Settings, rows: int) -> float:
    """Rows a second of one UPDATE and one commit a row, without any cipher."""

    def update() -> None:
        with connect(SUPERUSER, settings=database) as connection:
            for person, number, value in connection.execute("SELECT * FROM small LIMIT %s", (rows,)).fetchall():
                connection.execute(
                    "UPDATE small SET value = %s WHERE (person, number) = (%s, %s)", (value, person, number)
                )

    return rows / stopwatch(update)


def _pgcrypto(database: Settings, rows: int, options: str) -> float:
    """Rows a second of one statement that opens and seals all; the keys stand in it."""
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")
        connection.execute("DROP TABLE IF EXISTS crypto")
        connection.execute(
            f"CREATE TABLE crypto AS SELECT pgp_sym_encrypt_bytea(value, 'old key'{options}) AS value"
            " FROM sealed LIMIT %s",
            (rows,),
        )
        statement = (
            f"UPDATE crypto SET value = pgp_sym_encrypt_bytea(pgp_sym_decrypt_bytea(value, 'old key'), 'new'{options})"
        )
        return rows / stopwatch(lambda: connection.execute(statement))
