"""What several suites share.

A real PostgreSQL: one private cluster a session on a Unix socket, one database a test. The independent decoder of keys
and envelopes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from bench.cluster import cluster

from sensmail.store import SUPERUSER, Connection, Settings, connect, settings
from sensmail.store.roles import OWNER, grant_steps
from unit.softhsm import make_token

_NUMBERS = count()
# Everybody may be anybody in this throw-away cluster, except `nobody`, who shows how peer authentication behaves.
_HBA = "local all nobody peer\nlocal all all trust\n"
_CONFIG = "listen_addresses = ''\nfsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\n"


@pytest.fixture(scope="session")
def server() -> Iterator[Settings]:
    """A cluster with the engine's roles and its migrated database `sensmail`."""
    with cluster(_CONFIG, _HBA) as where:
        yield where


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
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SoftHSM2 token. Without SoftHSM2 the tests fail, they are not skipped: the provider would go untested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path_factory.mktemp("softhsm"), "keys")))
        yield "keys"


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
