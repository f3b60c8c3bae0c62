"""A real key service in a process of its own: real socket, real peer credentials, real PostgreSQL, real key file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sensmail.keyd.caller import SESSION
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import ACTS, Actor
from sensmail.keys import FileRoot, Keyring, Place
from sensmail.store import SUPERUSER, Connection, Settings, connect

UNIT = "sensmail-portal.service"
ACTOR = Actor("kim@example.org", "192.0.2.7", "test")
ALL = " ".join(ACTS)
DAYS = {"epoch_days": 30, "reseal_days": 365, "root_days": 730, "kept_for_restore_days": 35}
EMAIL, DEPARTMENT, OPEN_ITEM = 5, 6, 2  # field numbers


def policy(
    unit: str = UNIT, acts: str = ALL, per_minute: int = 1_000_000, new_per_minute: int = 1_000_000
) -> dict[str, Any]:
    """As much of /etc/sensmail/policy.json as the service reads, and more that it does not."""
    line = {"unit": unit, "acts": acts.split(), "purposes": ["otp_code", "own_data"]}
    line |= {"openings_per_minute": per_minute, "new_subjects_per_minute": new_per_minute}
    column = {"table": "accounts.subject", "subject": "id", "protection": "sealed", "purposes": ["registration_code"]}
    return {
        "sha256": "0" * 64,
        "applied": {"keys": {"callers": [line], "approval": "privacy_officer", **DAYS}},
        "data_map": [
            column | {"field": EMAIL, "column": "emergency_email", "item": "email", "purposes": ["otp_code"]},
            column | {"field": DEPARTMENT, "column": "department", "item": "department"},
            column | {"field": OPEN_ITEM, "column": "address", "item": "mail_id", "protection": "open"},
        ],
    }


@dataclass
class Site:
    """Files of one key service, and its process."""

    home: Path
    database: Settings
    unit: str | None = UNIT
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.home / "socket"

    @property
    def places(self) -> list[Path]:
        return [self.home / "one", self.home / "two"]

    @property
    def root(self) -> Path:
        return self.home / "credentials" / "sensmail-root_1"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def policy(self, document: dict[str, Any] | str) -> None:
        new = self.home / "policy.new"
        new.write_text(document if isinstance(document, str) else json.dumps(document))
        new.rename(self.home / "policy.json")

    def command(self) -> list[str]:
        script = str(Path(__file__).with_name("serve.py"))
        files = [str(self.home / "keyd.toml"), str(self.home / "engine.toml")]
        return [sys.executable, script, *files, *([self.unit] if self.unit else [])]

    def start(self, *, wait: bool = True) -> None:
        environment = {"CREDENTIALS_DIRECTORY": str(self.home / "credentials"), "PATH": os.environ["PATH"]}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stderr=log, stdin=subprocess.DEVNULL, env=environment | self.environment
            )
        while wait and b"serving on" not in (self.home / "log").read_bytes():
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process, and let its log begin anew."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        (self.home / "log").rename(self.home / "log.before")
        self.process = None
        return code

    def client(self) -> KeyService:
        return KeyService(self.socket)

    def rows(self, columns: str = "act, outcome, opening", but: str = "keys.subjects") -> list[tuple[Any, ...]]:
        """Records, in order, without those of an act that every test begins with."""
        query = f"SELECT {columns} FROM records.inbox WHERE act <> %s OR outcome <> 'done' ORDER BY id"
        with connect(SUPERUSER, settings=self.database) as admin:
            return admin.execute(query, (but,)).fetchall()

    def superuser(self) -> Connection:
        return connect(SUPERUSER, settings=self.database)


def make_site(home: Path, database: Settings) -> Site:
    """Directories, settings, root key and an empty key file."""
    (home / "credentials").mkdir(parents=True)
    for name in ("one", "two"):
        (home / name).mkdir()
    site = Site(home, database)
    root = FileRoot.create(site.root)
    Keyring.create([Place(home / "one"), Place(home / "two")], root, None).close()
    (home / "keyd.toml").write_text(
        f'places = ["{home}/one", "{home}/two"]\nsocket = "{home}/socket"\npolicy = "{home}/policy.json"\n'
        '[root]\nprovider = "file"\n'
    )
    (home / "engine.toml").write_text(
        f'[database]\nhost = "{database.host}"\nport = {database.port}\nname = "{database.name}"\n'
    )
    site.policy(policy())
    return site


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    """An empty key file in two places."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    root = FileRoot.create(tmp_path / "root")
    return Keyring.create([Place(tmp_path / "one"), Place(tmp_path / "two")], root, None)


@pytest.fixture
def applied() -> dict[str, Any]:
    """The policy of `site`."""
    return policy()


@pytest.fixture
def site(tmp_path: Path, database: Settings, applied: dict[str, Any]) -> Iterator[Site]:
    """A key service that runs."""
    made = make_site(tmp_path / "k", database)
    made.policy(applied)
    made.start()
    yield made
    if made.process is not None:
        made.stop()


@pytest.fixture
def keys(site: Site) -> Iterator[KeyService]:
    """Its client."""
    with site.client() as client:
        yield client


@pytest.fixture
def session(site: Site) -> Iterator[KeyService]:
    """A client in a login session of root."""
    site.stop()
    site.unit = SESSION
    site.policy(policy(SESSION))
    site.start()
    with site.client() as client:
        yield client


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until something is so; fails after 10 s."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "it did not come to pass within 10 s"
            time.sleep(0.02)

    return wait
