"""The slot: a file of one fixed size that holds the epoch key, wrapped. Overwritten in place when the epoch ends.

Two slots take turns (epoch modulo 2), so that the new epoch key is durable everywhere before the old one is destroyed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sensmail.keys.errors import Damaged
from sensmail.keys.roots import Root, pick

SLOT_BYTES = 4096
_MAGIC = b"SMSLOT01"
_LIVE, _DESTROYED = 1, 2
_HEAD = struct.Struct(">8sB16sQ16sHH")
_ROOM = SLOT_BYTES - hashlib.sha256().digest_size


@dataclass(frozen=True)
class Slot:
    """One epoch key, wrapped by the root and, when there are officers, for them."""

    ring: bytes
    epoch: int
    live: bool
    root: bytes = bytes(16)  # which root key wrapped it
    wrapped: bytes = b""
    recovery: bytes = b""

    def pack(self) -> bytes:
        """The file's bytes.

        Raises:
            ValueError: a provider's wrapped key and the recovery part do not fit together.
        """
        state = _LIVE if self.live else _DESTROYED
        lengths = len(self.wrapped), len(self.recovery)
        head = _HEAD.pack(_MAGIC, state, self.ring, self.epoch, self.root, *lengths)
        if len(head) + sum(lengths) > _ROOM:
            raise ValueError(f"a wrapped key of {lengths[0]} bytes and {lengths[1]} for recovery do not fit a slot")
        body = (head + self.wrapped + self.recovery).ljust(_ROOM, b"\0")
        return body + hashlib.sha256(body).digest()

    def unwrap(self, roots: Sequence[Root], where: str) -> bytes:
        """The epoch key.

        Raises:
            WrongRoot: another root wrapped it, or its recovery part is not the one that the root bound the key to.
            RootUnavailable. Damaged: the slot is that of a destroyed epoch.
        """
        if not self.live:
            raise Damaged(f"{where}: the key of epoch {self.epoch} is destroyed, but the snapshot still needs it")
        root = pick(roots, self.root, where)
        if root.slot_part == "recovery":
            return root.unwrap(self.recovery, context(self.ring, self.epoch))
        return root.unwrap(self.wrapped, root_context(self.ring, self.epoch, self.recovery))


def name(epoch: int) -> str:
    """File name of the slot of an epoch."""
    return f"slot.{epoch % 2}"


def context(ring: bytes, epoch: int) -> bytes:
    """What the officers' halves of an epoch key are bound to."""
    return b"sensmail epoch key v1\0" + ring + struct.pack(">Q", epoch)


def root_context(ring: bytes, epoch: int, recovery: bytes) -> bytes:
    """What a root binds an epoch key to: the recovery part too, so that who lacks the root changes no officer."""
    return context(ring, epoch) + hashlib.sha256(recovery).digest()


def parse(data: bytes | None, where: str) -> Slot:
    """Read a slot.

    Raises:
        Damaged: missing, of another size, altered, or of an unknown format.
    """
    if data is None or len(data) != SLOT_BYTES:
        raise Damaged(f"{where}: a slot has {SLOT_BYTES} bytes; found {'no file' if data is None else len(data)}")
    if hashlib.sha256(data[:_ROOM]).digest() != data[_ROOM:]:
        raise Damaged(f"{where}: the slot's checksum does not fit; take this place's files from another place")
    magic, state, ring, epoch, root, wrapped, recovery = _HEAD.unpack_from(data)
    if magic != _MAGIC or state not in {_LIVE, _DESTROYED} or _HEAD.size + wrapped + recovery > _ROOM:
        raise Damaged(f"{where}: not a slot of format {_MAGIC.decode()}")
    middle = _HEAD.size + wrapped
    if any(data[middle + recovery : _ROOM]):
        raise Damaged(f"{where}: the slot holds more than its format {_MAGIC.decode()} describes")
    parts = data[_HEAD.size : middle], data[middle : middle + recovery]
    return Slot(ring, epoch, state == _LIVE, root, *parts)
