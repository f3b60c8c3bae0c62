"""`roll`: a new epoch for a million subjects in two places, while readers look keys up.

The baseline is what the same promise costs where keys lie in the database: every subject's key, wrapped by an epoch
key, in a row of its own, is unwrapped and wrapped anew, by the fastest way known for bulk changes (binary COPY into a
temporary table, one UPDATE joined to it). Both sides lie on the same disk and sync.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.cluster import cluster
from bench.harness import ROUNDS, Figure, benchmark, stopwatch
from sensmail.keys import FileRoot, Keyring, Place
from sensmail.store import SUPERUSER, Connection, Settings, connect

SUBJECTS = 1_000_000
READERS = 2
PAUSE = 0.0005  # seconds between two look-ups of a reader: together about 3,000 a second


@benchmark("roll")
def roll() -> dict[str, Figure]:
    """Measure both sides in turn, then a roll right after a million fresh keys and single look-ups."""
    home = Path(tempfile.mkdtemp(prefix="sensmail-roll-", dir="/var/tmp"))
    try:
        places = [Place(home / name) for name in ("first", "second")]
        for place in places:
            place.directory.mkdir()
        with cluster() as database, Keyring.create(places, FileRoot.create(home / "root"), None) as ring:
            return _measure(database, ring)
    finally:
        shutil.rmtree(home)


def _measure(database: Settings, ring: Keyring) -> dict[str, Figure]:
    subjects: list[bytes] = []
    making = stopwatch(lambda: subjects.extend(key.subject for key in ring.new_subject_keys(SUBJECTS)))
    merging = stopwatch(ring.roll)
    lookup = _lookup(ring, subjects)
    rolls, rewraps, waits = [], [], list[float]()
    with connect(SUPERUSER, settings=database) as connection:
        wrapping = AESGCM(os.urandom(32))
        _fill(connection, subjects, wrapping)
        for _ in range(ROUNDS):
            with _reading(ring, subjects, waits):
                rolls.append(stopwatch(ring.roll))
            successor = AESGCM(os.urandom(32))
            rewraps.append(stopwatch(lambda: _rewrap(connection, wrapping, successor)))  # noqa: B023  called here
            wrapping = successor
    waits.sort()
    notes = {
        "subjects": SUBJECTS,
        "reads": len(waits),
        "read_p50_ms": round(waits[len(waits) // 2] * 1000, 3),
        "read_p99_ms": round(waits[len(waits) * 99 // 100] * 1000, 2),
        "read_max_ms": round(waits[-1] * 1000, 1),
        "lookup_us": round(lookup * 1e6, 2),
        "new_keys_s": round(making, 2),
        "load": os.getloadavg()[0],
    }
    fresh = Figure("s", [merging], notes={"subjects": SUBJECTS, "what": "roll right after as many fresh keys"})
    return {"roll": Figure("s", rolls, rewraps, notes=notes), "roll_fresh": fresh}


def _lookup(ring: Keyring, subjects: Sequence[bytes]) -> float:
    """Seconds that finding one key takes, without a reader beside."""
    sample = random.Random(1).sample(subjects, 50_000)
    return stopwatch(lambda: [ring.state_of(each, 1) for each in sample]) / len(sample)


@contextmanager
def _reading(ring: Keyring, subjects: Sequence[bytes], waits: list[float]) -> Iterator[None]:
    """Readers in other threads; how long each look-up took goes into `waits`, and a wrong key stops the benchmark."""
    done, failures = threading.Event(), list[BaseException]()

    def read(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not done.is_set():
                begin = time.perf_counter()
                time.sleep(PAUSE)  # measured as well: a reader that does not get its turn is a reader that waits
                ring.key(chance.choice(subjects))
                waits.append(time.perf_counter() - begin - PAUSE)
        except BaseException as failure:  # raised again by the benchmark
            failures.append(failure)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    for failure in failures:
        raise failure


def _fill(connection: Connection, subjects: Sequence[bytes], wrapping: AESGCM) -> None:
    connection.execute("CREATE SCHEMA bench")
    connection.execute("SET search_path TO bench")
    connection.execute("CREATE TABLE keys (subject uuid PRIMARY KEY, wrapped bytea NOT NULL) WITH (fillfactor = 50)")
    with connection.transaction(), connection.cursor().copy("COPY keys FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["bytea", "bytea"])  # a uuid's bytes are the same, and cost no object
        for subject in sorted(subjects):
            copy.write_row((subject, _wrap(wrapping, os.urandom(32), subject)))
    connection.execute("VACUUM ANALYZE keys")


def _rewrap(connection: Connection, old: AESGCM, new: AESGCM) -> None:
    """One transaction: nobody may write in between, and nothing is left under the old key."""
    with connection.transaction():
        rows = connection.cursor(binary=True).execute("SELECT uuid_send(subject), wrapped FROM keys").fetchall()
        connection.execute("CREATE TEMPORARY TABLE fresh (subject uuid, wrapped bytea) ON COMMIT DROP")
        with connection.cursor().copy("COPY fresh FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["bytea", "bytea"])  # a uuid's bytes are the same, and cost no object
            for subject, wrapped in rows:
                copy.write_row((subject, _wrap(new, old.decrypt(wrapped[:12], wrapped[12:], subject), subject)))
        connection.execute("UPDATE keys SET wrapped = fresh.wrapped FROM fresh WHERE keys.subject = fresh.subject")


def _wrap(wrapping: AESGCM, key: bytes, subject: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + wrapping.encrypt(nonce, key, subject)
