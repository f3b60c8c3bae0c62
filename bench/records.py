"""Sealing records, and recomputing what was sealed.

`records_append`: concurrent writers commit one record an act while the sealer works; counted until all is sealed and
readable. Baseline: the same writers without a sealer. `records_append_batched`: what a collector does, a thousand
records a commit. `records_seal`: the sealer alone, on an inbox that is full. `records_verify`: every leaf and every
root, from PostgreSQL; `records_verify_bundle` the same offline, from what `records_export` wrote.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.cluster import cluster
from bench.harness import ROUNDS, Figure, benchmark, stopwatch
from sensmail.ledger import Entry, insert
from sensmail.records.check import check
from sensmail.records.export import Asked, export
from sensmail.records.sealer import ROLE, Sealer
from sensmail.records.verify.whole import Held, verify
from sensmail.store import Settings, connect

WRITERS, SECONDS, BATCH, FILLED = 8, 4.0, 1000, 200_000
_JOBS = "sensmail-jobs"


@benchmark("records")
def records() -> dict[str, Figure]:
    """Append and verify, each on a fresh cluster."""
    with TemporaryDirectory(prefix="sensmail-bench-records-") as home, cluster() as database:
        plain = [_written(database, 1, _idle) for _ in range(ROUNDS)]
        with connect(ROLE, settings=database) as session:
            sealer = Sealer(session, Path(home), "bench.example/records")
            sealer.start()
            _drain(sealer)
            single = [_written(database, 1, partial(_beside, sealer)) for _ in range(ROUNDS)]
            batched = [_written(database, BATCH, partial(_beside, sealer)) for _ in range(ROUNDS)]
            alone = [_filled(database, sealer) for _ in range(ROUNDS)]
            size = sealer.heads()["access"]
        verified = [size / stopwatch(partial(_checked, database, size)) for _ in range(ROUNDS)]
        bundle = Path(home) / "bundle.zip"
        with connect(_JOBS, settings=database) as session:
            written = stopwatch(partial(export, session, bundle, Asked("bench", "bench"), patience_s=0.0))
        offline = [size / stopwatch(partial(_verified, bundle, size)) for _ in range(ROUNDS)]
    notes = {"writers": WRITERS, "records": size}
    unit, best = "records/s", True
    return {
        "records_append": Figure(unit, single, plain, best, notes | {"what": "one commit a record, until sealed"}),
        "records_append_batched": Figure(unit, batched, plain, best, notes | {"commit_of": BATCH}),
        "records_seal": Figure(unit, alone, plain, best, notes | {"what": "the sealer alone", "goal": 50_000}),
        "records_export": Figure(unit, [size / written], (), best, notes),
        "records_verify_bundle": Figure(unit, offline, (), best, notes | {"goal": 200_000}),
        "records_verify": Figure(unit, verified, (), best, notes | {"goal": 200_000}),
    }


def _written(database: Settings, batch: int, beside: Callable[[threading.Event], None]) -> float:
    """Records a second, from the first insert until whatever works beside has taken the last."""
    stop = threading.Event()
    thread = threading.Thread(target=beside, args=(stop,))
    start = time.perf_counter()
    thread.start()
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        done = pool.map(partial(_write, database), [batch] * WRITERS, chunksize=1)
        start = min(began for began, _ in done)
    stop.set()
    thread.join()
    return sum(count for _, count in done) / (time.perf_counter() - start)


def _write(database: Settings, batch: int) -> tuple[float, int]:
    entries = [_entry(number) for number in range(batch)]
    with connect(_JOBS, settings=database) as connection:
        start, done = time.perf_counter(), 0  # one clock for all processes of a host
        while time.perf_counter() - start < SECONDS:
            insert(connection, entries)
            done += batch
    return start, done


def _entry(number: int) -> Entry:
    detail = {"fields": ["name"]} if number % 2 else {}
    return Entry("access", "open", f"kim{number}@example.org", "192.0.2.1", client="Mozilla/5.0", detail=detail)


def _idle(stop: threading.Event) -> None:
    stop.wait()


def _beside(sealer: Sealer, stop: threading.Event) -> None:
    while not stop.is_set():
        if not sealer.seal():
            stop.wait(0.2)
    _drain(sealer)


def _drain(sealer: Sealer) -> None:
    while sealer.seal():
        pass


def _filled(database: Settings, sealer: Sealer) -> float:
    with connect(_JOBS, settings=database) as connection:
        for _ in range(FILLED // BATCH):
            insert(connection, [_entry(number) for number in range(BATCH)])
    return FILLED / stopwatch(partial(_drain, sealer))


def _verified(bundle: Path, size: int) -> None:
    found = verify(bundle, Held())
    if any(each.wrong for each in found.all()) or found.logs[0].verified != size:
        raise RuntimeError(f"not sound: {found.all()}")


def _checked(database: Settings, size: int) -> None:
    found = check(lambda: connect(_JOBS, settings=database), "access")
    if found.findings or found.size != size:
        raise RuntimeError(f"not sound: {found}")
