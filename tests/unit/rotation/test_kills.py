"""kill -9 of worker, key service and backend, and restarts of the database: a run goes on, and nothing is lost.

The cluster syncs to disk, since what a crash leaves is the question here. Beside every run one client reads and opens,
and another writes and adds persons. More kills, each in a phase that is named: tests/keys_kill.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from bench.cluster import cluster
from tests.unit.keyd.conftest import Site, make_site
from tests.unit.rotation.conftest import ACTOR, People, document

from sensmail.fields import row_key, text
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.protocol import Sealed, Sealing
from sensmail.rotation.census import census
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import protect, tables
from sensmail.store import SUPERUSER, Connection, Settings, Unreachable, connect
from sensmail.store.roles import OWNER, grant_steps

ROWS, CHUNK, KILLED = 3000, 50, 5
_NUMBERS = count()
SEED = int(os.environ.get("SENSMAIL_SEED", str(random.randrange(2**32))))
Session = psycopg.Connection[tuple[Any, ...]]
AWAY = (psycopg.OperationalError, KeyServiceError)  # while something is down, and said so


@pytest.fixture(scope="module")
def durable() -> Iterator[Settings]:
    with cluster() as made:
        yield made


@pytest.fixture
def place(durable: Settings, tmp_path: Path) -> Iterator[tuple[People, Site]]:
    """A key service and 3,000 people, on a cluster that syncs."""
    fresh = replace(durable, name=f"test_{next(_NUMBERS)}")
    with up_again(durable, "postgres") as admin:
        admin.execute(f"CREATE DATABASE {fresh.name} OWNER {OWNER} TEMPLATE {durable.name}")
        for step in grant_steps(admin, fresh.name):
            admin.execute(step.statement)
    site = make_site(tmp_path / "k", fresh)
    site.policy(document())
    site.start()
    with connect(SUPERUSER, settings=fresh) as admin, site.client() as keys:
        people = People(fresh, keys, admin)
        people.make(ROWS)
        yield people, site
    if site.process is not None:
        site.stop(signal.SIGKILL)


def up_again(where: Settings, database: str | None = None) -> Connection:
    """A session, as soon as the server takes one: after a crash it recovers first."""
    for _ in range(300):
        try:
            return connect(SUPERUSER, settings=where, database=database)
        except Unreachable:
            time.sleep(0.1)
    return connect(SUPERUSER, settings=where, database=database)


def start(site: Site, act: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    command += [str(site.home / "engine.toml"), str(site.socket), act, site.database.name, str(CHUNK)]
    with told(site).open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def told(site: Site) -> Path:
    """What the worker that was started last has said."""
    return site.home / "worker.log"


def at_work(site: Site, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the worker has named its first phase: before that there is nothing to interrupt."""
    while process.poll() is None and "phase=" not in told(site).read_text():
        time.sleep(0.005)
    return process.poll() is None


@dataclass
class Beside:
    """What a reader and a writer saw: values that did not open, and what every row must hold in the end."""

    expected: dict[uuid.UUID, str]
    failed: list[object] = field(default_factory=list)
    reads: int = 0
    writes: int = 0


@contextmanager
def others(people: People, site: Site, expected: dict[uuid.UUID, str]) -> Iterator[Beside]:
    """Read and write until the end of the block; `expected` is each row's note."""
    seen, stop = Beside(expected), threading.Event()
    threads = [threading.Thread(target=act, args=(site, seen, stop)) for act in (_read, _write)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _again(stop: threading.Event, site: Site, act: Callable[[Session, KeyService], None]) -> None:
    where = site.database
    while not stop.is_set():
        try:  # not by store.connect: it changes the identity of the whole process for a moment
            with (
                psycopg.connect(host=where.host, dbname=where.name, user=SUPERUSER, autocommit=True) as connection,
                site.client() as keys,
            ):
                while not stop.is_set():
                    act(connection, keys)
                    time.sleep(0.002)
        except AWAY:
            time.sleep(0.05)


def _read(site: Site, seen: Beside, stop: threading.Event) -> None:
    chance = random.Random(SEED)
    ids = list(seen.expected)

    def read(connection: Session, keys: KeyService) -> None:
        key = chance.choice(ids)
        rows = connection.execute("SELECT subject, note FROM people WHERE id = %s", (key,)).fetchall()
        subject, note = rows[0]
        if bytes(note[:1]) == b"\x01":
            opened = keys.open_many([Sealed(subject, 21, row_key(key), note)], "own_data", ACTOR)
            if opened[0].value is None:
                seen.failed.append((key, opened[0].refusal))
        seen.reads += 1

    _again(stop, site, read)


def _write(site: Site, seen: Beside, stop: threading.Event) -> None:
    chance = random.Random(SEED + 1)
    ids = list(seen.expected)[:100]

    def write(connection: Session, keys: KeyService) -> None:
        if chance.random() < 0.3:
            key = subject = keys.new_subjects()[0]
            statement = "INSERT INTO people (note, subject, id) VALUES (%s, %s, %s)"
        else:
            key = chance.choice(ids)
            subject = connection.execute("SELECT subject FROM people WHERE id = %s", (key,)).fetchall()[0][0]
            keys.adopt([subject])
            statement = "UPDATE people SET note = %s WHERE subject = %s AND id = %s"
        new = f"written {seen.writes}"
        seen.expected[key] = f"?{new}"  # whether a commit that got no answer counts is not known
        note = keys.seal([Sealing(subject, 21, row_key(key), new.encode())])[0]
        connection.execute(statement, (note, subject, key))
        seen.expected[key] = new
        seen.writes += 1

    _again(stop, site, write)


def _worker(site: Site, people: People, process: subprocess.Popen[bytes]) -> None:
    process.kill()


def _keyd(site: Site, people: People, process: subprocess.Popen[bytes]) -> None:
    site.stop(signal.SIGKILL)
    site.start()


def _backend(site: Site, people: People, process: subprocess.Popen[bytes]) -> None:
    """kill -9 of the backend that works most: the server ends every session and recovers."""
    with up_again(site.database) as admin:
        rows = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE query ~ 'sensmail_stage|COPY' AND pid <> pg_backend_pid()"
        ).fetchall()
    if rows:
        os.kill(rows[0][0], signal.SIGKILL)


def _restart(site: Site, people: People, process: subprocess.Popen[bytes]) -> None:
    data = Path(site.database.host) / "data"
    binary = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[-1]
    subprocess.run(
        ["runuser", "-u", SUPERUSER, "--", binary, "-D", data, "-w", "-m", "immediate", "restart"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )


KILLS = {"worker": _worker, "key service": _keyd, "backend": _backend, "database": _restart}


@pytest.mark.parametrize("act", ["protect", "reseal"])
@pytest.mark.parametrize("victim", KILLS)
def test_killed_and_taken_up_again(victim: str, act: str, place: tuple[People, Site]) -> None:
    people, site = place
    print(f"SENSMAIL_SEED={SEED}")
    chance = random.Random(SEED)
    expected = {row[0]: bytes(row[1]).decode() for row in people.rows("id, note")}
    if act == "reseal":
        protect(Sessions(site.database), people.keys, people.wanted(), Progress(), rewrite=False)
    hits = 0
    with others(people, site, expected) as seen:
        process = start(site, act)
        while hits < KILLED and at_work(site, process):
            time.sleep(chance.uniform(0.0, 0.25))
            if process.poll() is not None:
                break
            hits += 1
            KILLS[victim](site, people, process)
            if victim == "worker":
                process.wait()
                process = start(site, act)
        process.wait(timeout=120)
        assert process.returncode == 0, told(site).read_text()
    assert hits >= 1
    assert seen.failed == []
    assert seen.reads > 20
    assert seen.writes > 5
    _check(people, site, seen, act)


def _check(people: People, site: Site, seen: Beside, act: str) -> None:
    with up_again(site.database) as admin:
        people.admin = admin
        found = people.rows()
        notes = [(subject, 21, key, note) for key, subject, _, note in found]
        opened = dict(zip([row[0] for row in found], people.open(notes), strict=True))
        for key, note in seen.expected.items():
            if note.startswith("?"):
                assert opened.get(key) in {note[1:], None} or opened[key].startswith(("written", "쪽지"))  # type: ignore[union-attr]
            else:
                assert opened[key] == note
        phones = [(row[1], 20, row[0], text.unpack(row[2].encode())) for row in found if row[2]]
        assert {each[:4] for each in people.open(phones)} == {"010-"}
        assert len(phones) == ROWS
        (table,) = tables(Sessions(site.database), people.wanted())
        for states in census(admin, table, people.keys, Progress()).values():
            assert sum(states.values()) == states["active"]
        if act == "reseal":
            versions = {int.from_bytes(row[3][2:6]) for row in found}
            assert versions <= {1, 2}  # 1: born meanwhile
            old = [row[0] for row in found if int.from_bytes(row[3][2:6]) == 1]
            assert all(row[0] == row[1] for row in found if row[0] in set(old))
