"""Three officers with key files, and a running host's key file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import FileRoot, Keyring, Officers, PiecesRoot, Place, piece
from sensmail.keys.pieces import slot_of


@pytest.fixture(scope="session")
def officers() -> list[X25519PrivateKey]:
    """Three officers' private keys."""
    return [X25519PrivateKey.generate() for _ in range(3)]


@dataclass
class Site:
    """A host's key file on disk: root, two places."""

    folder: Path
    root: FileRoot
    places: list[Place]

    @classmethod
    def make(cls, folder: Path, officers: list[X25519PrivateKey] | None) -> Site:
        """A new host with an empty key file."""
        folder.mkdir()
        site = cls(folder, FileRoot.create(folder / "root.key"), [Place(folder / name) for name in ("first", "second")])
        for place in site.places:
            place.directory.mkdir()
        with Keyring.create(site.places, site.root, _public(officers) if officers else None):
            return site

    def open(self) -> Keyring:
        """The key file, as the service opens it."""
        return Keyring.open(self.places, self.root)

    def files(self) -> dict[str, bytes]:
        """Everything in the places but the lock."""
        return {
            f"{place.directory.name}/{name}": place.read(name) or b""
            for place in self.places
            for name in place.names()
            if name != "lock"
        }


def _public(private: list[X25519PrivateKey]) -> Officers:
    return Officers.of([each.public_key() for each in private])


@pytest.fixture
def lost(tmp_path: Path, officers: list[X25519PrivateKey]) -> Site:
    """The host that will be lost."""
    return Site.make(tmp_path / "old", officers)


@pytest.fixture
def fresh(tmp_path: Path) -> Site:
    """A newly deployed host, with an empty key file of its own."""
    return Site.make(tmp_path / "new", None)


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Path]:
    """Where copies are carried."""
    made = tmp_path / "media"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def copied(place: Place, target: Path) -> Place:
    """A copy of a place, as an operator makes one."""
    return Place(Path(shutil.copytree(place.directory, target)))


def opened(copy: Place, *private: X25519PrivateKey) -> PiecesRoot:
    """Two officers' pieces of this copy."""
    one, two = (piece(each, slot_of(copy)) for each in private)
    return PiecesRoot(one, two)
