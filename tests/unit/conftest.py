"""What several suites share.

A real PostgreSQL: one private cluster a session on a Unix socket, one database a test. The independent decoder of keys
and envelopes.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from sensmail.store import SUPERUSER, Connection, Settings, connect, settings
from sensmail.store.deploy import deploy
from sensmail.store.roles import OWNER, grant_steps

_PORT = 5432  # names the socket file only: nothing listens on the network
_NUMBERS = count()
# Everybody may be anybody in this throw-away cluster, except `nobody`, who shows how peer authentication behaves.
_HBA = "local all nobody peer\nlocal all all trust\n"
_CONFIG = "listen_addresses = ''\nfsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\n"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.fail("unit tests need the PostgreSQL server programs: apt install postgresql", pytrace=False)
    return found[-1].parent


def _as_server_user(home: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(home, SUPERUSER, pwd.getpwnam(SUPERUSER).pw_gid)
    return ["runuser", "-u", SUPERUSER, "--"]


@pytest.fixture(scope="session")
def server() -> Iterator[Settings]:
    """A cluster with the engine's roles and its migrated database `sensmail`."""
    home = Path(tempfile.mkdtemp(prefix="sensmail-pg-", dir="/tmp"))  # a socket path has 107 bytes at most
    home.chmod(0o755)
    prefix, data, binaries = _as_server_user(home), home / "data", _binaries()
    options = f"-k {home} -p {_PORT}"
    control = [*prefix, binaries / "pg_ctl", "-D", data, "-w", "-l", home / "log", "-o", options]
    initdb = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={SUPERUSER}"]
    subprocess.run([*prefix, binaries / "initdb", "-D", data, *initdb], check=True, capture_output=True, cwd="/")
    (data / "pg_hba.conf").write_text(_HBA)
    with (data / "postgresql.conf").open("a") as file:
        file.write(_CONFIG)
    subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        where = Settings(host=str(home), port=_PORT)
        deploy(settings=where)
        yield where
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(home)


@pytest.fixture
def database(server: Settings) -> Iterator[Settings]:
    """A fresh copy of the migrated database."""
    fresh = replace(server, name=f"test_{next(_NUMBERS)}")
    with connect(SUPERUSER, settings=server, database="postgres") as admin:
        admin.execute(f"CREATE DATABASE {fresh.name} OWNER {OWNER} TEMPLATE {server.name}")
        for step in grant_steps(admin, fresh.name):
            admin.execute(step.statement)
    yield fresh
    with connect(SUPERUSER, settings=server, database="postgres") as admin:
        admin.execute(f"DROP DATABASE {fresh.name} WITH (FORCE)")


@pytest.fixture
def session(database: Settings) -> Iterator[Callable[[str], Connection]]:
    """Opens sessions on the test's database as any role; closes them at the end."""
    opened: list[Connection] = []

    def open_session(role: str) -> Connection:
        opened.append(connect(role, settings=database))
        return opened[-1]

    yield open_session
    for connection in opened:
        connection.close()


@pytest.fixture
def configured(database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's database is the one that the engine's settings file names: what commands and modules use."""
    file = tmp_path / "engine.toml"
    file.write_text(f'[database]\nhost = "{database.host}"\nport = {database.port}\nname = "{database.name}"\n')
    monkeypatch.setattr(settings, "SETTINGS_PATH", file)
    return database


@pytest.fixture(scope="session")
def decoder() -> ModuleType:
    """tests/vectors/decoder.py, loaded by path: it belongs to no package."""
    spec = importlib.util.spec_from_file_location(
        "formats_decoder", Path(__file__).parents[1] / "vectors" / "decoder.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
