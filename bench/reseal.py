"""Sealing a million rows anew under new keys, through the key service, while others read and write.

Ten rows a person, whose primary key begins with the person, so that a chunk needs few keys; the notes have the rate
with one row a person, where every row needs two keys of its own.
Baselines, in the same minutes: MultiFernet.rotate with the fastest plain way back into the table, one UPDATE a row, and
pgcrypto. None of them has a key for each person, a record, or a way to go on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from cryptography.fernet import Fernet, MultiFernet

from bench.cluster import cluster
from bench.harness import Figure, benchmark, stopwatch
from bench.opening import FIELD, service
from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Actor, Sealed, Sealing
from sensmail.rotation.model import Wanted
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Lines
from sensmail.rotation.protect import protect
from sensmail.rotation.reseal import Reason, reseal
from sensmail.store import SUPERUSER, Settings, connect

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
SMALL = max(ROWS // 20, 1)  # rows of the baselines; the rate of the slow ones hardly depends on it
PAUSE_S = 0.01  # of each reader and writer between two acts
_ACTOR = Actor("bench", "127.0.0.1", "bench")
_ACTS = ["adopt", "seal", "open", "check", "reseal", "census", "replace", "retire", "status"]


class _Phases(Lines):
    """Remembers how long each phase took."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def phase(self, name: str, total: int = 0, done: int = 0) -> None:
        now = time.perf_counter()
        if self.name:
            self.seconds[self.name] = self.seconds.get(self.name, 0) + now - self._began
        self._began = now
        super().phase(name, total, done)


@benchmark("reseal")
def resealing() -> dict[str, Figure]:
    """Rows a second of the phase that seals anew; the whole job and the other side stand in the notes."""
    many, notes = _measure(ROWS, 10)
    one, single = _measure(max(ROWS // 5, 1), 1)
    notes["one_row_a_person"] = {"rows_per_s": round(one), **{name: single[name] for name in ("rows", "seconds")}}
    fernet = notes.pop("multifernet_rows_per_s")
    return {"reseal": Figure("rows/s", [many], [fernet], higher_is_better=True, notes={"goal": 60000, **notes})}


def _measure(rows: int, each: int) -> tuple[float, dict[str, Any]]:
    """Rows a second with so many rows in all and for each person, and what else was seen."""
    with (
        TemporaryDirectory(prefix="sensmail-bench-reseal-") as home,
        cluster() as database,
        service(Path(home), database) as socket,
        KeyService(socket, timeout_s=300) as keys,
    ):
        _allow(Path(home))
        _fill(database, rows, each)
        sessions = Sessions(database)
        wanted = Wanted(database.name, "public", "sealed", "value", "person", FIELD, SUPERUSER)
        sealing = stopwatch(lambda: protect(sessions, keys, [wanted], _Phases(), rewrite=False))
        phases = _Phases()
        with _others(socket, database) as seen:
            whole = stopwatch(lambda: reseal(sessions, keys, [], Reason("bench", "bench"), phases, settle_s=0))
            notes = {
                "rows": rows,
                "persons": rows // each,
                "seconds": {name: round(spent, 2) for name, spent in phases.seconds.items()},
                "whole_job_rows_per_s": round(rows / whole),
                "protect_rows_per_s": round(rows / sealing),
                **seen(),
            }
        if each > 1:
            notes |= {
                "multifernet_rows_per_s": _multifernet(database),
                "row_by_row_rows_per_s": round(_row_by_row(database)),
                "pgcrypto_default_rows_per_s": round(_pgcrypto(database, "")),
                "pgcrypto_weak_key_rows_per_s": round(_pgcrypto(database, ", 's2k-mode=0'")),
            }
    return rows / phases.seconds["reseal"], notes


def _allow(home: Path) -> None:
    policy = json.loads((home / "policy.json").read_text())
    policy["applied"]["keys"]["callers"][0]["acts"] = _ACTS
    (home / "policy.new").write_text(json.dumps(policy))
    (home / "policy.new").rename(home / "policy.json")


def _fill(database: Settings, rows: int, each: int) -> None:
    """Values in clear; `number` counts the rows of a person."""
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute(
            "CREATE TABLE sealed (person uuid, number int, value bytea, PRIMARY KEY (person, number))"
            " WITH (fillfactor = 50)"
        )
        connection.execute(
            "INSERT INTO sealed SELECT p.id, n, convert_to(format('person-%%s@mail.example.kr', n), 'UTF8')"
            " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS p, generate_series(1, %s) AS n",
            (rows // each, each),
        )
        connection.execute("VACUUM (ANALYZE) sealed")


@contextmanager
def _others(socket: Path, database: Settings) -> Iterator[Callable[[], dict[str, Any]]]:
    """A reader that opens and a writer that seals, until the end; the function says what they saw so far."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    processes = [
        context.Process(target=act, args=(socket, database, stop, told)) for act in (_read_others, _write_others)
    ]
    for process in processes:
        process.start()

    def seen() -> dict[str, Any]:
        stop.set()
        return {**told.get(timeout=60), **told.get(timeout=60)}

    try:
        yield seen
    finally:
        stop.set()
        for process in processes:
            process.join(60)


def _read_others(socket: Path, database: Settings, stop: Event, told: Any) -> None:
    times, failed = [], 0
    with KeyService(socket) as keys, connect(SUPERUSER, settings=database) as connection:
        rows = connection.execute("SELECT person, number FROM sealed TABLESAMPLE SYSTEM (1)").fetchall()
        while not stop.is_set():
            key, start = random.choice(rows), time.perf_counter()
            value = connection.execute("SELECT value FROM sealed WHERE (person, number) = (%s, %s)", key).fetchall()[0][
                0
            ]
            opened = keys.open_many([Sealed(key[0], FIELD, row_key(*key), value)], "own_data", _ACTOR)
            failed += opened[0].value is None
            times.append(time.perf_counter() - start)
            time.sleep(PAUSE_S)
    told.put({"reads": len(times), "reads_failed": failed, "read_p99_ms": round(quantiles(times, n=100)[98] * 1000, 1)})


def _write_others(socket: Path, database: Settings, stop: Event, told: Any) -> None:
    count = 0
    with KeyService(socket) as keys, connect(SUPERUSER, settings=database) as connection:
        rows = connection.execute("SELECT person, number FROM sealed TABLESAMPLE SYSTEM (1)").fetchall()
        while not stop.is_set():
            key = random.choice(rows)
            value = keys.seal([Sealing(key[0], FIELD, row_key(*key), b"written beside")])[0]
            statement = "UPDATE sealed SET value = %s WHERE (person, number) = (%s, %s)"
            count += connection.execute(statement, (value, *key)).rowcount
            time.sleep(PAUSE_S)
    told.put({"writes": count})


def _multifernet(database: Settings) -> float:
    """Rows a second; 5,000 rows in one UPDATE … FROM unnest."""
    old, new = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
    both, rows = MultiFernet([new, old]), _small(database, lambda value: old.encrypt(value))

    def rotate() -> None:
        with connect(SUPERUSER, settings=database) as connection:
            for start in range(0, len(rows), 5000):
                part = rows[start : start + 5000]
                made = [both.rotate(value) for _, value in part]
                connection.execute(
                    "UPDATE small SET value = n.value FROM unnest(%s::uuid[], %s::bytea[]) AS n (id, value)"
                    " WHERE small.id = n.id",
                    ([key for key, _ in part], made),
                )

    return len(rows) / stopwatch(rotate)


def _row_by_row(database: Settings) -> float:
    """Rows a second of one UPDATE and one commit a row, without any cipher."""
    rows = _small(database, lambda value: value)[: max(SMALL // 10, 1)]

    def update() -> None:
        with connect(SUPERUSER, settings=database) as connection:
            for key, value in rows:
                connection.execute("UPDATE small SET value = %s WHERE id = %s", (value, key))

    return len(rows) / stopwatch(update)


def _pgcrypto(database: Settings, options: str) -> float:
    """Rows a second of one statement that opens and seals all; the keys stand in it."""
    few = max(SMALL // (1 if options else 50), 1)
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")
        connection.execute("DROP TABLE IF EXISTS crypto")
        connection.execute(
            f"CREATE TABLE crypto AS SELECT pgp_sym_encrypt_bytea(value, 'old key'{options}) AS value"
            " FROM sealed LIMIT %s",
            (few,),
        )
        statement = (
            f"UPDATE crypto SET value = pgp_sym_encrypt_bytea(pgp_sym_decrypt_bytea(value, 'old key'), 'new'{options})"
        )
        return few / stopwatch(lambda: connection.execute(statement))


def _small(database: Settings, encrypt: Callable[[bytes], bytes]) -> list[tuple[UUID, bytes]]:
    """A table of the other side's values; its rows."""
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute("DROP TABLE IF EXISTS small")
        connection.execute("CREATE TABLE small (id uuid PRIMARY KEY, value bytea) WITH (fillfactor = 50)")
        ids = [uuid4() for _ in range(SMALL)]
        rows = [(key, encrypt(b"person-%d@mail.example.kr" % number)) for number, key in enumerate(ids)]
        with connection.cursor().copy("COPY small FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["uuid", "bytea"])
            for row in rows:
                copy.write_row(row)
        connection.execute("ANALYZE small")
    return rows
