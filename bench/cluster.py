"""A PostgreSQL cluster of its own, for benchmarks and tests; as durable as one is by default."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensmail.store import SUPERUSER, Settings
from sensmail.store.deploy import deploy

_PORT = 5432  # names the socket file only: nothing listens on the network
_CONFIG = "listen_addresses = ''\nshared_buffers = '512MB'\nmax_wal_size = '4GB'\n"


@contextmanager
def cluster(config: str = _CONFIG, hba: str = "local all all trust\n") -> Iterator[Settings]:
    """With the engine's roles and its migrated database. Everything is gone afterwards.

    Args:
        config: lines for postgresql.conf.
        hba: who may be whom; by default everybody may be anybody.

    Raises:
        FileNotFoundError: the server's programs are not installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise FileNotFoundError("/usr/lib/postgresql: no server programs; apt install postgresql")
    home = Path(tempfile.mkdtemp(prefix="sensmail-pg-", dir="/var/tmp"))
    home.chmod(0o755)
    prefix: list[str] = []
    if os.geteuid() == 0:  # as which it refuses to run
        shutil.chown(home, SUPERUSER, pwd.getpwnam(SUPERUSER).pw_gid)
        prefix = ["runuser", "-u", SUPERUSER, "--"]
    data, programs = home / "data", found[-1].parent
    control = [*prefix, str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(home / "log")]
    initdb = [*prefix, str(programs / "initdb"), "-D", str(data), "--auth=trust", "--encoding=UTF8"]
    if "fsync = off" in config:
        initdb.append("--no-sync")
    try:
        subprocess.run(
            [*initdb, "--locale=C.UTF-8", f"--username={SUPERUSER}"], check=True, capture_output=True, cwd="/"
        )
        (data / "pg_hba.conf").write_text(hba)
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"{config}unix_socket_directories = '{home}'\nport = {_PORT}\n")
        subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        try:
            where = Settings(host=str(home), port=_PORT)
            deploy(settings=where)
            yield where
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    finally:
        shutil.rmtree(home)
