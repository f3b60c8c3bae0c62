"""The snapshot: the whole state at one moment, encrypted under the epoch key."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag

from sensmail.keys.errors import Damaged
from sensmail.keys.material import NONCE_BYTES, TAG_BYTES, Box, derive

NAME = "snapshot"
NEW = "snapshot.new"  # finished but not yet current
_MAGIC = b"SMSNAP01"
_HEAD = struct.Struct(">8s16sQQ")
_MAX_BYTES = 2**31 - 1  # one call of the library; state.MAX_ROWS keeps well below


@dataclass(frozen=True)
class Epoch:
    """One epoch key and what is derived from it."""

    ring: bytes  # 16 random bytes that name this key file
    number: int  # from 1
    key: bytes = field(repr=False)

    @cached_property
    def snapshot_box(self) -> Box:
        """Seals snapshots."""
        return Box(derive(self.key, b"sensmail snapshot v1"))

    @cached_property
    def journal_box(self) -> Box:
        """Seals journal records."""
        return Box(derive(self.key, b"sensmail journal v1"))


@dataclass(frozen=True)
class Header:
    """What a snapshot says of itself before it is opened."""

    ring: bytes
    epoch: int
    sequence: int  # of the last journal record that is part of it


def header(data: bytes, where: str) -> Header:
    """Read the header of a snapshot.

    Raises:
        Damaged: too short, or of an unknown format.
    """
    if len(data) < _HEAD.size + NONCE_BYTES + TAG_BYTES:
        raise Damaged(f"{where}: the snapshot is cut short to {len(data)} bytes; take this place's files from another")
    magic, ring, epoch, sequence = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise Damaged(f"{where}: not a snapshot of format {_MAGIC.decode()}")
    return Header(ring, epoch, sequence)


def seal(epoch: Epoch, sequence: int, content: bytes) -> bytes:
    """The file's bytes.

    Raises:
        Damaged: more content than one snapshot may hold.
    """
    if len(content) > _MAX_BYTES:
        raise Damaged(f"a snapshot holds at most {_MAX_BYTES} bytes; these keys need {len(content)}")
    head = _HEAD.pack(_MAGIC, epoch.ring, epoch.number, sequence)
    return head + epoch.snapshot_box.seal(content, head)


def open_snapshot(epoch: Epoch, data: bytes, where: str) -> bytes:
    """The content.

    Raises:
        Damaged: altered, cut, or sealed under another epoch key.
    """
    try:
        return epoch.snapshot_box.open(memoryview(data)[_HEAD.size :], data[: _HEAD.size])
    except (InvalidTag, OverflowError):
        text = f"{where}: the snapshot does not open under its epoch key: it was changed or cut"
        raise Damaged(f"{text}; take it from another place") from None
