"""A reader and a writer at work on a table while it is measured."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from statistics import quantiles
from typing import Any, Protocol
from uuid import UUID

from sensmail.store import SUPERUSER, Connection, Settings, connect

PAUSE_S = 0.01  # of each between two acts
Key = tuple[UUID, int]  # person and number of a row


class Side(Protocol):
    """Whose values a reader and a writer work on."""

    @property
    def table(self) -> str:
        """Where its values are."""

    def open(self, key: Key, value: bytes, /) -> bool:
        """Whether a value opens."""

    def seal(self, key: Key, value: bytes, /) -> bytes:
        """A value for a row."""


@contextmanager
def others(side: Side, database: Settings) -> Iterator[Callable[[], dict[str, Any]]]:
    """A reader that opens and a writer that seals, until the end; the function says what they saw so far."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    processes = [context.Process(target=act, args=(side, database, stop, told)) for act in (_read, _write)]
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


def _read(side: Side, database: Settings, stop: Event, told: Any) -> None:
    times, failed = [], 0
    with connect(SUPERUSER, settings=database) as connection:
        rows = _some_keys(connection, side)
        query = f"SELECT value FROM {side.table} WHERE (person, number) = (%s, %s)"
        while not stop.is_set():
            key, start = random.choice(rows), time.perf_counter()
            failed += not side.open(key, connection.execute(query, key).fetchall()[0][0])
            times.append(time.perf_counter() - start)
            time.sleep(PAUSE_S)
    told.put({"reads": len(times), "reads_failed": failed, "read_p99_ms": round(quantiles(times, n=100)[98] * 1000, 1)})


def _write(side: Side, database: Settings, stop: Event, told: Any) -> None:
    count = 0
    with connect(SUPERUSER, settings=database) as connection:
        rows = _some_keys(connection, side)
        statement = f"UPDATE {side.table} SET value = %s WHERE (person, number) = (%s, %s)"
        while not stop.is_set():
            key = random.choice(rows)
            count += connection.execute(statement, (side.seal(key, b"written beside"), *key)).rowcount
            time.sleep(PAUSE_S)
    told.put({"writes": count})


def _some_keys(connection: Connection, side: Side) -> list[Key]:
    return connection.execute(f"SELECT person, number FROM {side.table} TABLESAMPLE SYSTEM (1)").fetchall()
