"""Kill -9 of the sealer and of PostgreSQL at random moments under load: nothing is lost or doubled, all verifies."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from sensmail.ledger import Entry, insert
from sensmail.store import SUPERUSER, Settings, StoreError, connect
from sensmail.store.deploy import deploy
from unit.records.rig import Rig

SEAL = Path(__file__).parent / "seal.py"
SECONDS = 25.0
SEED = int(os.environ.get("SENSMAIL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


class Cluster:
    """A durable PostgreSQL of its own, to be killed. A child of ours, so that it leaves no zombie behind."""

    def __init__(self, home: Path) -> None:
        self.home, self.data = home, home / "data"
        self._programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]))[-1]
        self._who = SUPERUSER if os.geteuid() == 0 else None
        if self._who:
            shutil.chown(home, self._who, self._who)
        self.settings = Settings(host=str(home))
        arguments = ["-D", str(self.data), "--auth=trust", "--locale=C.UTF-8", "--username=postgres"]
        assert self._spawn("initdb", arguments).wait(120) == 0
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{home}'\nrestart_after_crash = off\n")
        self.start()
        deploy(settings=self.settings)

    def _spawn(self, program: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        command, log = [str(self._programs / program), *arguments], (self.home / "log").open("ab")
        groups: list[int] | None = [] if self._who else None
        with log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", user=self._who, group=self._who, extra_groups=groups
            )

    def start(self) -> None:
        self._process = self._spawn("postgres", ["-D", str(self.data)])
        for _ in range(300):
            try:
                connect(SUPERUSER, settings=self.settings, database="postgres").close()
                return
            except StoreError:
                assert self._process.poll() is None, (self.home / "log").read_text()[-2000:]
                time.sleep(0.1)
        pytest.fail("PostgreSQL did not come back")

    def kill(self) -> None:
        """The postmaster and all its children, at once."""
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for each in [first, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self._process.wait()
        for each in map(int, children):
            while _alive(each):
                time.sleep(0.01)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    home = Path(tempfile.mkdtemp(prefix="sensmail-crash-", dir="/var/tmp"))
    home.chmod(0o755)
    made = Cluster(home)
    yield made
    made.stop()
    shutil.rmtree(home)


class Writer(threading.Thread):
    """Commits numbered records; knows which are durable and which are in doubt."""

    def __init__(self, database: Settings, name: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._database, self._label, self._stopped = database, name, stop
        self.durable: list[str] = []
        self.doubtful: set[str] = set()

    def run(self) -> None:
        number, connection = 0, None
        while not self._stopped.is_set():
            names = [f"{self._label}-{number + at}" for at in range(random.randrange(1, 40))]
            number += len(names)
            ledger = "governance" if number % 3 == 0 else "access"
            try:
                connection = connection or connect("sensmail-jobs", settings=self._database)
                insert(connection, [Entry(ledger, "open", each) for each in names])
                self.durable += names
            except (psycopg.Error, StoreError):
                self.doubtful |= set(names)
                connection = None
                time.sleep(0.05)
        if connection is not None:
            connection.close()


def spawn(cluster: Cluster, directory: Path) -> subprocess.Popen[bytes]:
    engine = cluster.home / "engine.toml"
    engine.write_text(f'[database]\nhost = "{cluster.home}"\n')
    command = [sys.executable, str(SEAL), str(engine), str(directory), "60", "0.5"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def test_nothing_is_lost_or_doubled(cluster: Cluster, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance, directory = random.Random(SEED), tmp_path / "keys"
    directory.mkdir(mode=0o700)
    stop = threading.Event()
    writers = [Writer(cluster.settings, name, stop) for name in ("a", "b")]
    sealers = [spawn(cluster, directory), spawn(cluster, directory)]  # two at once, all the time
    kills = {"sealer": 0, "database": 0}
    for each in writers:
        each.start()
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        time.sleep(chance.uniform(0.05, 1.2))
        if chance.random() < 0.25:
            cluster.kill()
            cluster.start()
            kills["database"] += 1
        else:
            at = chance.randrange(len(sealers))
            assert sealers[at].poll() is None, "a sealer gave up by itself"
            sealers[at].kill()
            sealers[at].wait()
            sealers[at] = spawn(cluster, directory)
            kills["sealer"] += 1
    stop.set()
    for each in writers:
        each.join(30)
    for process in sealers:
        process.kill()
        process.wait()
    rig = Rig(cluster.settings, directory)
    try:
        last = rig.sealer(lambda: time.time_ns() // 1000)
        while last.seal():
            pass
        _counted(rig, writers)
    finally:
        rig.close()
    print(kills, last.heads())
    assert min(kills.values()) >= 2


def _counted(rig: Rig, writers: list[Writer]) -> None:
    sealed = [str(row[0]) for ledger in ("access", "governance") for row in rig.rows(
        f"SELECT account FROM records.{ledger} ORDER BY seq")]  # fmt: skip
    durable = {name for each in writers for name in each.durable}
    doubtful = {name for each in writers for name in each.doubtful}
    assert len(sealed) == len(set(sealed))
    assert durable - set(sealed) == set()
    assert set(sealed) - durable - doubtful == set()
    assert len(durable) > 100
    rig.sound()
    for ledger in ("access", "governance"):
        ((count, highest),) = rig.rows(f"SELECT count(*), max(seq) FROM records.{ledger}")
        assert isinstance(highest, int)
        assert count == highest + 1
