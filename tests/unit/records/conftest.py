"""What the tests of records share: the independent implementation, and logs made by hand."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records import note
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.note import Note, VerifierKey
from sensmail.store import Settings
from unit.records.rig import Rig

Peer = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """Asks tests/unit/records/peer/main.go, Go's own implementation; bytes go and come as base64."""
    if not shutil.which("go") or not Path("/usr/share/gocode/src/golang.org/x/mod").exists():
        pytest.fail(
            "tests of records need golang-go and golang-golang-x-mod-dev: run tools/setup --tests", pytrace=False
        )
    home = tmp_path_factory.mktemp("peer")
    source = Path(__file__).parent / "peer" / "main.go"
    environment = {
        **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(home / "cache"),
        "GOFLAGS": "", "CGO_ENABLED": "0",
    }  # fmt: skip
    program = home / "peer"
    subprocess.run(["go", "build", "-o", program, source], env=environment, check=True, timeout=300)

    def ask(**request: object) -> dict[str, Any]:
        text = json.dumps(request, default=lambda data: base64.b64encode(data).decode())
        done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


class Signing:
    """A log's keys, all in memory, and checkpoints of it."""

    def __init__(self, keys: int = 4, log: str = "mail.example.go.kr/records") -> None:
        self.stable = Ed25519PrivateKey.generate()
        self.keys = [Ed25519PrivateKey.generate() for _ in range(keys)]
        self.public = [note.public_bytes(each) for each in self.keys]
        self.origin = Origin.of(log, "access", 1, self.public[0]).to_text()
        self.log_key = VerifierKey(self.origin, note.public_bytes(self.stable))

    def body(self, size: int = 1, root: bytes = b"r" * 32, time: int = 1_764_000_000, key: int = 0) -> Checkpoint:
        return Checkpoint(self.origin, size, root, time, self.public[key], self.public[key + 1])

    def signed(self, body: Checkpoint) -> Note:
        return body.sign(self.stable, self.keys[self.public.index(body.key)])


@pytest.fixture
def signing() -> Signing:
    return Signing()


@pytest.fixture
def rig(database: Settings, tmp_path: Path) -> Iterator[Rig]:
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    made = Rig(database, directory)
    yield made
    made.close()
