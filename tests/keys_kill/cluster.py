"""A PostgreSQL server of its own, durable as on a host (fsync on), that may be killed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sensmail.store import SUPERUSER, Connection, Settings, connect
from sensmail.store.deploy import deploy

# Reached through a socket in a private directory: everybody may be anybody.
_HBA = "local all all trust\nlocal replication all trust\n"
_CONFIG = """
listen_addresses = ''
max_connections = 60
autovacuum_naptime = 5s
checkpoint_timeout = 1min
log_statement = all
log_min_messages = info
"""


class Cluster:
    """One server below `home`; `with` starts it and stops it."""

    def __init__(self, home: Path, extra: str = "") -> None:
        self.home, self.data = home, home / "data"
        self.settings = Settings(host=str(home))
        self._extra = extra

    def __enter__(self) -> Self:
        """Initialise, start, migrate."""
        self.home.mkdir(mode=0o755)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.home, SUPERUSER, pwd.getpwnam(SUPERUSER).pw_gid)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={SUPERUSER}"]
        self.run("initdb", "-D", str(self.data), *options)
        (self.data / "pg_hba.conf").write_text(_HBA)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_CONFIG + self._extra)
        self.start()
        try:
            deploy(settings=self.settings)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; what was killed is recovered from its WAL."""
        self._control("start")

    def stop(self) -> None:
        """Cut it off: no checkpoint, as after a power cut."""
        self._control("-m", "immediate", "stop")

    def restart(self) -> None:
        """All sessions end at once; the server comes back by crash recovery."""
        self._control("-m", "immediate", "restart")

    def kill_backend(self, where: str) -> bool:
        """SIGKILL to one server process of a session that `where` (SQL over pg_stat_activity) finds, best a busy one.

        The server then ends all other sessions too and recovers. False where there is no such session.
        """
        with connect(SUPERUSER, settings=self.settings) as admin:
            row = admin.execute(
                f"SELECT pid FROM pg_stat_activity WHERE {where} ORDER BY state = 'active' DESC, state_change DESC"
            ).fetchone()
            if row is None:
                return False
            os.kill(row[0], signal.SIGKILL)
        return True

    def wait(self, seconds: float = 60.0) -> None:
        """Until it accepts sessions again."""
        deadline = time.monotonic() + seconds
        while self.run("pg_isready", "-q", "-h", str(self.home), check=False):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.home}: the server does not come back; see {self.home}/log")
            time.sleep(0.05)

    def run(self, program: str, *words: str, check: bool = True) -> int:
        """One of PostgreSQL's own programs, as the server's user."""
        prefix = ["runuser", "-u", SUPERUSER, "--"] if os.geteuid() == 0 else []
        command = [*prefix, str(binaries() / program), *words]
        done = subprocess.run(command, check=False, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.returncode

    def _control(self, *words: str) -> None:
        # Not captured: the server would hold the pipe open.
        prefix = ["runuser", "-u", SUPERUSER, "--"] if os.geteuid() == 0 else []
        control = [str(binaries() / "pg_ctl"), "-D", str(self.data), "-w", "-t", "120", "-l", str(self.home / "log")]
        options = ["-o", f"-k {self.home}"]
        subprocess.run(
            [*prefix, *control, *options, *words],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def session(self, role: str = SUPERUSER) -> Connection:
        """A session on the engine's database."""
        return connect(role, settings=self.settings)


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A directory with a short name (a socket path has 107 bytes at most) that the server's user may enter."""
    path = Path(tempfile.mkdtemp(prefix="sensmail-kill-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def binaries() -> Path:
    """Where the newest installed server's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise FileNotFoundError("no PostgreSQL server programs: apt install postgresql")
    return found[-1].parent
