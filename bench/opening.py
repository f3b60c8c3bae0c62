"""Opening sealed values with a durable record of each, through the key service: one by one, and 200 at once.

Baseline: AES-256-GCM in the process itself and one durable commit for each value, by as many workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.cluster import cluster
from bench.harness import ROOT, ROUNDS, Figure, benchmark
from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Actor, Sealed, Sealing
from sensmail.keys import FileRoot, Keyring, Place
from sensmail.ledger import Entry, insert
from sensmail.store import Settings, connect

WORKERS, SECONDS, BATCH, SUBJECTS, FIELD = 2, 3.0, 200, 2000, 5
_SERVE = ROOT / "tests" / "unit" / "keyd" / "serve.py"
_DAYS = {"epoch_days": 30, "reseal_days": 365, "root_days": 730, "kept_for_restore_days": 35}
_ACTOR = Actor("bench", "127.0.0.1", "bench")
_VALUE = b"kim.emergency@example.org"
Work = Callable[[], Callable[[], int]]  # prepares in the worker; what it returns opens some and says how many


@benchmark("open")
def opening() -> dict[str, Figure]:
    """Recorded opens by two workers."""
    with TemporaryDirectory(prefix="sensmail-bench-keyd-") as home, cluster() as database:
        with service(Path(home), database) as socket:
            single = [_rate(partial(_recorded, socket, 1)) for _ in range(ROUNDS)]
            batch = [_rate(partial(_recorded, socket, BATCH)) for _ in range(ROUNDS)]
        commits = [_rate(partial(_committed, database)) for _ in range(ROUNDS)]
    bare = _rate(_bare)
    notes = {"workers": WORKERS, "bare_aes_gcm": round(bare)}
    return {
        "open": Figure("values/s", single, commits, higher_is_better=True, notes=notes | {"goal": 2000}),
        "open_batch": Figure("values/s", batch, commits, higher_is_better=True, notes=notes | {"goal": 20000}),
    }


@contextmanager
def service(home: Path, database: Settings) -> Iterator[Path]:
    """A key service of its own; yields its socket."""
    for name in ("credentials", "one", "two"):
        (home / name).mkdir()
    root = FileRoot.create(home / "credentials" / "sensmail-root_1")
    Keyring.create([Place(home / "one"), Place(home / "two")], root, None).close()
    socket = home / "socket"
    callers = [
        {"unit": "bench", "acts": ["subjects", "seal", "open", "reseal", "replace"], "purposes": ["own_data"],
         "openings_per_minute": 10**9, "new_subjects_per_minute": 10**9}
    ]  # fmt: skip
    sealed = {"field": FIELD, "item": "email", "table": "public.sealed", "column": "value", "protection": "sealed"}
    policy = {
        "applied": {"keys": {"callers": callers, "approval": "privacy_officer", **_DAYS}},
        "data_map": [sealed],
    }
    (home / "policy.json").write_text(json.dumps(policy))
    places = json.dumps([str(home / "one"), str(home / "two")])
    (home / "keyd.toml").write_text(
        f'places = {places}\nsocket = "{socket}"\npolicy = "{home}/policy.json"\n[root]\nprovider = "file"\n'
    )
    (home / "engine.toml").write_text(f'[database]\nhost = "{database.host}"\n')
    command = [sys.executable, str(_SERVE), str(home / "keyd.toml"), str(home / "engine.toml"), "bench"]
    environment = {"CREDENTIALS_DIRECTORY": str(home / "credentials"), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not socket.exists():
            if process.poll() is not None:
                raise RuntimeError("the key service did not start")
            time.sleep(0.05)
        yield socket
    finally:
        process.terminate()
        process.wait()


def _rate(work: Work) -> float:
    """Values a second by all workers together, each for the same seconds."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        return sum(pool.map(_measure, [work] * WORKERS, chunksize=1))


def _measure(work: Work) -> float:
    act = work()
    act()
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < SECONDS:
        done += act()
    return done / spent


def _recorded(socket: Path, batch: int) -> Callable[[], int]:
    keys = KeyService(socket)
    subjects = keys.new_subjects(max(batch, SUBJECTS // WORKERS))
    envelopes = keys.seal([Sealing(each, FIELD, row_key(each), _VALUE) for each in subjects])
    items = [Sealed(each, FIELD, row_key(each), made) for each, made in zip(subjects, envelopes, strict=True)]
    position = 0

    def act() -> int:
        nonlocal position
        position = position + batch if position + 2 * batch <= len(items) else 0
        opened = keys.open_many(items[position : position + batch], "own_data", _ACTOR)
        if any(each.value != _VALUE for each in opened):
            raise RuntimeError("a value did not open")
        return batch

    return act


def _committed(database: Settings) -> Callable[[], int]:
    connection, decrypt = connect("sensmail-jobs", settings=database), _decrypt()

    def act() -> int:
        insert(connection, [Entry("access", "open", "bench", "127.0.0.1", _SOMEBODY, "bench", "own_data")])
        decrypt()
        return 1

    return act


def _bare() -> Callable[[], int]:
    decrypt = _decrypt()

    def act() -> int:
        for _ in range(BATCH):
            decrypt()
        return BATCH

    return act


_SOMEBODY = UUID(int=uuid4().int)


def _decrypt() -> Callable[[], bytes]:
    cipher, nonce, bound = AESGCM(os.urandom(32)), os.urandom(12), b"x" * 63
    sealed = cipher.encrypt(nonce, _VALUE, bound)
    return lambda: cipher.decrypt(nonce, sealed, bound)
