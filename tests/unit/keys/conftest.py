"""A small key file in two directories, and three officers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import FileRoot, Keyring, Officers, Place


@pytest.fixture(scope="session")
def officers() -> list[X25519PrivateKey]:
    """Three officers' private keys."""
    return [X25519PrivateKey.generate() for _ in range(3)]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a file system: these tests sync thousands of times and model the disk."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="sensmail-keys-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    """A root key in a file."""
    return FileRoot.create(tmp_path / "root.key")


@pytest.fixture
def places(tmp_path: Path) -> list[Place]:
    """Two empty directories."""
    made = [Place(tmp_path / name) for name in ("first", "second")]
    for place in made:
        place.directory.mkdir()
    return made


@pytest.fixture
def reopen(places: list[Place], root: FileRoot, officers: list[X25519PrivateKey]) -> Callable[[], Keyring]:
    """Opens the key file of the two directories; the first call makes it. Close what it returns."""

    def open_() -> Keyring:
        if places[0].read("snapshot") is None:
            return Keyring.create(places, root, Officers.of([each.public_key() for each in officers]))
        return Keyring.open(places, root)

    return open_
