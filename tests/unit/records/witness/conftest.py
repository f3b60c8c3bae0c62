"""A witness that runs, and a log to hand in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from sensmail.host import systemd
from sensmail.records.note import Note, VerifierKey
from sensmail.records.proof import Leaves
from sensmail.records.publisher.client import Client
from sensmail.records.publisher.settings import Witness
from sensmail.records.witness import keys
from sensmail.records.witness.log import path
from sensmail.records.witness.submission import Submission
from unit.records.conftest import Signing
from unit.records.witness.serve import NAME

SERVE = Path(__file__).with_name("serve.py")
START = 1_764_000_000


class Book(Signing):
    """A log with leaves."""

    def __init__(self, leaves: int = 40, fork: bytes = b"") -> None:
        super().__init__()
        self.leaves = [sha256(b"%d" % n + (fork if n >= 5 else b"")).digest() for n in range(leaves)]

    def note(self, size: int, key: int = 0, time: int = START, **change: object) -> Note:
        body = self.body(size, Leaves(self.leaves).root(size), time, key)
        return self.signed(replace(body, **change))  # type: ignore[arg-type]

    def given(self, old: int, size: int, key: int = 0, time: int = START, **change: object) -> Submission:
        proof = Leaves(self.leaves).consistency(old, size) if old <= size else []
        return Submission(old, tuple(proof), self.note(size, key, time, **change))

    def forked(self) -> Book:
        """The same keys, another history from the sixth record on."""
        other = Book(len(self.leaves), b"forked")
        other.stable, other.keys, other.public = self.stable, self.keys, self.public
        other.origin, other.log_key = self.origin, self.log_key
        return other


class Running:
    """The witness, in a process of its own."""

    def __init__(self, home: Path, *logs: VerifierKey) -> None:
        self.home, self.logs = home, logs
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (home / "store").mkdir(exist_ok=True, parents=True)
        (home / "keys").mkdir(exist_ok=True)
        found, _ = keys.ensure(home / "keys", NAME, used=False)
        assert found is not None
        self.public = found
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Running:
        command = [sys.executable, str(SERVE), str(self.home), str(self.port), *(each.to_text() for each in self.logs)]
        paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        return self

    def ended(self, kill: bool = False) -> tuple[int, str]:
        """Exit status and last words."""
        assert self.process is not None
        if kill:
            self.process.kill()
        words = self.process.communicate(timeout=20)[1]
        return self.process.returncode, words

    def restart(self) -> Running:
        self.ended(kill=True)
        return self.start()

    def fail(self, how: str, on: bool = True) -> None:
        (self.home / how).touch() if on else (self.home / how).unlink()

    def file(self, log: VerifierKey) -> Path:
        return path(self.home / "store", log.name)

    def settings(self) -> Witness:
        return Witness(f"https://127.0.0.1:{self.port}", self.public.key, self.public.certificate)

    def client(self) -> Client:
        return Client(self.settings())


@pytest.fixture
def plain_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd-creds leaves the secret as it is, so that the test's process can be handed it."""
    program = tmp_path / "systemd-creds"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "SYSTEMD_CREDS", str(program))


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def running(tmp_path: Path, book: Book, plain_credentials: None) -> Iterator[Running]:
    made = Running(tmp_path, book.log_key).start()
    yield made
    if made.process and made.process.poll() is None:
        made.ended(kill=True)
