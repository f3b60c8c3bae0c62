"""Sealing a million rows anew under new keys, through the key service, while others read and write.

Ten rows a person, whose primary key begins with the person, so that a chunk needs few keys; the notes have the rate
with one row a person, where every row needs two keys of its own.

The other side is MultiFernet.rotate, and it does the same job under the same conditions: a table of the same shape in
the same cluster, rows read in the order of their key inside the clock, a reader and a writer beside it that open and
seal tokens of its table at the same pace, the quickest way back into the table that we know (COPY into a temporary
table and UPDATE between its edges, one commit a chunk), writing while the next chunk is rotated, and the best of three
sizes of chunk. What it leaves out is left to its advantage: it has no key for each person, no record, no way to go on
after a kill, and it overwrites what the writer wrote in between. The notes also have one UPDATE and one commit a row,
and pgcrypto in one statement, both with the same reader and writer at work.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.beside import Key, others
from bench.cluster import cluster
from bench.harness import ROUNDS, Figure, benchmark, stopwatch
from bench.opening import FIELD, service
from bench.rotations import SHAPE, other_sides
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
    notes["one_row_a_person"] = {"rows_per_s": round(max(one)), "rows": single["rows"], "seconds": single["seconds"]}
    fernet = notes.pop("multifernet_by_chunk")
    notes["multifernet_chunks"] = list(fernet)
    return {
        "reseal": Figure("rows/s", many, list(fernet.values()), higher_is_better=True, notes={"goal": 60000, **notes})
    }


def _measure(rows: int, each: int) -> tuple[list[float], dict[str, Any]]:
    """Rows a second with so many rows in all and for each person, several times; and what else was seen."""
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
        rates = []
        with others(_Ours(socket), database) as seen:
            for _ in range(ROUNDS):
                phases = _Phases()
                whole = stopwatch(partial(reseal, sessions, keys, [], Reason("bench", "bench"), phases, settle_s=0))
                rates.append(rows / phases.seconds["reseal"])
            notes = {
                "rows": rows,
                "persons": rows // each,
                "seconds": {name: round(spent, 2) for name, spent in phases.seconds.items()},
                "whole_job_rows_per_s": round(rows / whole),
                "protect_rows_per_s": round(rows / sealing),
                **seen(),
            }
        if each > 1:
            notes |= other_sides(database, max(rows // 10, 1))
    return rates, notes


@dataclass(frozen=True)
class _Ours:
    """Envelopes, through the key service."""

    socket: Path
    table: str = "sealed"

    @cached_property
    def _keys(self) -> KeyService:
        return KeyService(self.socket)

    def open(self, key: Key, value: bytes) -> bool:
        """One recorded opening."""
        return (
            self._keys.open_many([Sealed(key[0], FIELD, row_key(*key), value)], "own_data", _ACTOR)[0].value is not None
        )

    def seal(self, key: Key, value: bytes) -> bytes:
        """Under the person's newest key."""
        return self._keys.seal([Sealing(key[0], FIELD, row_key(*key), value)])[0]


def _allow(home: Path) -> None:
    policy = json.loads((home / "policy.json").read_text())
    policy["applied"]["keys"]["callers"][0]["acts"] = _ACTS
    (home / "policy.new").write_text(json.dumps(policy))
    (home / "policy.new").rename(home / "policy.json")


def _fill(database: Settings, rows: int, each: int) -> None:
    """Values in clear; `number` counts the rows of a person."""
    with connect(SUPERUSER, settings=database) as connection:
        connection.execute(f"CREATE TABLE sealed {SHAPE}")
        connection.execute(
            "INSERT INTO sealed SELECT p.id, n, convert_to(format('person-%%s@mail.example.kr', n), 'UTF8')"
            " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS p, generate_series(1, %s) AS n",
            (rows // each, each),
        )
        connection.execute("VACUUM (ANALYZE) sealed")
