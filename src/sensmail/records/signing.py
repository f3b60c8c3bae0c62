"""Signing keys on disk: the stable key of all logs, and for each ledger the key that is next in turn.

The key in use is in memory only. Its successor is on disk before any checkpoint names it, and is overwritten in place
once a checkpoint signed by it is durable: who takes the disk can sign what comes, not what was. docs/formats.md,
"Signing keys".
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.host.files import Files
from sensmail.records.errors import DatabaseOlder, KeysUnusable
from sensmail.records.note import public_bytes

_MAGIC = b"SMRKEY01"
_EMPTY, _KEY = 0, 1
_SLOT = struct.Struct(">8sBIQ32s")  # state, generation, turn, private key
_MARK = struct.Struct(">8sIQ")  # generation, size
_BLOCK = 4096
_MARK_AT = 2 * _BLOCK
_LENGTH = 3 * _BLOCK
_DIGEST = 32


@dataclass(frozen=True)
class Turn:
    """One evolving key: its number in its generation, from 0."""

    generation: int
    number: int
    private: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        return public_bytes(self.private)


def stable_key(directory: Path, *, make: bool, files: Files | None = None) -> Ed25519PrivateKey:
    """The key whose signature every C2SP verifier checks. Made once, with the first log.

    Raises:
        KeysUnusable: missing and not to be made, or damaged. OSError.
    """
    files, path = files or Files(), directory / "log.key"
    if make and not path.exists():
        fresh = path.with_suffix(".new")
        files.create(fresh, os.urandom(32))
        files.rename(fresh, path)
        files.fsync_directory(directory)
    data = _read(path)
    if len(data) != 32:
        raise KeysUnusable(f"{path}: 32 bytes are expected; bring the file back, or open a new generation of each log")
    return Ed25519PrivateKey.from_private_bytes(data)


class KeyFile:
    """The evolving keys of one ledger: two slots used in turn, and a mark of how far the log had come."""

    def __init__(self, directory: Path, ledger: str, files: Files | None = None) -> None:
        self.path, self._files = directory / f"{ledger}.keys", files or Files()

    def begin(self, generation: int) -> tuple[Turn, Turn]:
        """The first key of a new log, and its successor; both on disk, for the log is not durable yet.

        Raises:
            DatabaseOlder: keys are there of a log that the database does not know. KeysUnusable, OSError.
        """
        self._make()
        kept = self._turns()
        first = next((each for each in kept if (each.generation, each.number) == (generation, 0)), None)
        if first is None and (kept or self.mark() is not None):
            held = max([each.generation for each in kept] + [(self.mark() or (0, 0))[0]])
            if held >= generation:
                raise DatabaseOlder(f"{self.path}: holds keys of generation {held}, but the database knows no such log")
        first = first or self._put(Turn(generation, 0, Ed25519PrivateKey.generate()))
        return first, self._put(Turn(generation, 1, Ed25519PrivateKey.generate()))

    def take_up(self, generation: int, public: bytes, size: int) -> tuple[Turn, Turn]:
        """The key that the last checkpoint endorses, and a fresh successor, which is on disk on return.

        Args:
            generation: of the log.
            public: `next` of the newest checkpoint in the database.
            size: of that checkpoint.

        Raises:
            DatabaseOlder: these keys signed more than the database holds. KeysUnusable, OSError.
        """
        marked = self.mark()
        if marked is not None and marked > (generation, size):
            raise DatabaseOlder(
                f"{self.path}: generation {marked[0]} had reached size {marked[1]}, the database is at generation "
                f"{generation}, size {size}: it was put back. Bring the lost records back, or open a new generation"
            )
        kept = self._turns()
        found = next((each for each in kept if each.public == public and each.generation == generation), None)
        if found is None:
            held = ", ".join(f"generation {each.generation} turn {each.number}" for each in kept) or "no key"
            raise KeysUnusable(
                f"{self.path}: the key that the last checkpoint endorses is not there (held: {held}). Where the "
                f"database or this file was put back to an older state, open a new generation"
            )
        return found, self.succeed(found)

    def holds(self, generation: int, public: bytes) -> bool:
        """Whether that key is there. Raises KeysUnusable where the file has another length, or is missing."""
        return any((each.generation, each.public) == (generation, public) for each in self._turns())

    def succeed(self, turn: Turn) -> Turn:
        """A fresh key after `turn`, on disk on return, in the slot that `turn` does not use."""
        return self._put(Turn(turn.generation, turn.number + 1, Ed25519PrivateKey.generate()))

    def forget(self, turn: Turn) -> None:
        """Overwrite a key that is in use from now on; its successor is endorsed in a durable checkpoint."""
        self._files.overwrite(self.path, _place(turn), _closed(_SLOT.pack(_MAGIC, _EMPTY, 0, 0, bytes(32))))

    def mark(self) -> tuple[int, int] | None:
        """Generation and size that were durable when last marked; None where nothing readable stands there."""
        data = _read(self.path)[_MARK_AT : _MARK_AT + _MARK.size + _DIGEST]
        if not _whole(data, _MARK.size):
            return None
        _, generation, size = _MARK.unpack_from(data)
        return int(generation), int(size)

    def set_mark(self, generation: int, size: int) -> None:
        """Remember what is durable in the database. Not synced: after a power cut it may be an earlier one."""
        fd = self._files.open(self.path, os.O_WRONLY)
        try:
            data = _closed(_MARK.pack(_MAGIC, generation, size))
            self._files.pwrite(fd, memoryview(data), _MARK_AT)
        finally:
            os.close(fd)

    def _make(self) -> None:
        if self.path.exists():
            return
        fresh = self.path.with_suffix(".new")
        self._files.create(fresh, bytes(_LENGTH))
        self._files.rename(fresh, self.path)
        self._files.fsync_directory(self.path.parent)

    def _put(self, turn: Turn) -> Turn:
        secret = turn.private.private_bytes_raw()
        data = _closed(_SLOT.pack(_MAGIC, _KEY, turn.generation, turn.number, secret))
        self._files.overwrite(self.path, _place(turn), data)
        return turn

    def _turns(self) -> list[Turn]:
        data = _read(self.path)
        if len(data) != _LENGTH:
            raise KeysUnusable(f"{self.path}: {_LENGTH} bytes are expected; bring it back or open a new generation")
        found = []
        for at in (0, _BLOCK):
            slot = data[at : at + _SLOT.size + _DIGEST]
            if not _whole(slot, _SLOT.size):  # never used, or torn before it was endorsed
                continue
            _, state, generation, number, secret = _SLOT.unpack_from(slot)
            if state == _KEY:
                found.append(Turn(generation, number, Ed25519PrivateKey.from_private_bytes(secret)))
        return found


def _place(turn: Turn) -> int:
    return _BLOCK * (turn.number % 2)


def _closed(data: bytes) -> bytes:
    return data + sha256(data).digest()


def _whole(data: bytes, length: int) -> bool:
    return data[:8] == _MAGIC and sha256(data[:length]).digest() == data[length:]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
