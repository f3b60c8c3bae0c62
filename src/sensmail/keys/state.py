"""What the key file says: keys, closed subjects, tombstones. Changed only by applying operations of the journal."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from sensmail.keys.errors import Damaged
from sensmail.keys.material import KEY_BYTES, SubjectKey
from sensmail.keys.material import KeyState as S
from sensmail.keys.rows import SortedRows

KEY_ROW = struct.Struct(f">16sIB3x{KEY_BYTES}s")
_STATE_AT, _ZEROS_AT = 20, (21, 22, 23)
CLOSED_ROW = struct.Struct(">16sQ")
TOMBSTONE_ROW = struct.Struct(">16sQQ")
_OPERATION = struct.Struct(f">B16sQ{KEY_BYTES}s")
_NUMBERS = struct.Struct(">QQ")
_COUNT = struct.Struct(">Q")
_NO_KEY = bytes(KEY_BYTES)
_NOBODY = bytes(16)


class Act(IntEnum):
    """The kinds of operation; the numbers stand in the journal."""

    NEW_KEY = 1  # number = version; the version before it becomes restore-only
    CLOSE = 2  # number = time
    REOPEN = 3
    DESTROY_VERSION = 4  # number = version
    DESTROY_SUBJECT = 5  # number = time; all versions go, a tombstone stays
    EPOCH_DESTROYED = 6  # number = epoch: no place holds a key of this or an earlier epoch any more


@dataclass(frozen=True)
class Operation:
    """One change of the key file."""

    act: Act
    subject: bytes = _NOBODY
    number: int = 0
    key: bytes = field(default=_NO_KEY, repr=False)


@dataclass(frozen=True)
class Tombstone:
    """A subject whose keys were dropped: in which epoch they last existed, and when they were dropped (seconds)."""

    subject: bytes
    epoch: int
    time: int


def pack(operations: Iterable[Operation]) -> bytes:
    """The plaintext of one journal record."""
    return b"".join(_OPERATION.pack(each.act, each.subject, each.number, each.key) for each in operations)


class State:
    """The content of a key file in memory."""

    def __init__(self) -> None:
        self.keys = SortedRows(KEY_ROW.size)
        self.closed = SortedRows(CLOSED_ROW.size)
        self.tombstones = SortedRows(TOMBSTONE_ROW.size)
        self.openings = 0  # highest opening number when the snapshot was written
        self.destroyed_through = 0  # highest epoch of which no place holds the key
        self.dropping = False  # a key was dropped in the present epoch, so a copy of its files still opens it

    def versions(self, subject: bytes) -> list[SubjectKey]:
        """Every version of a subject's key, oldest first."""
        return [
            SubjectKey(subject, version, key, S(state))
            for _, version, state, key in KEY_ROW.iter_unpack(self.keys.get(subject))
        ]

    def count(self, subject: bytes) -> int:
        """How many versions a subject's key ever had; 0 for a subject without keys."""
        return len(self.keys.get(subject)) // KEY_ROW.size

    def tombstone(self, subject: bytes) -> Tombstone | None:
        """The subject's tombstone, if it has one."""
        row = self.tombstones.get(subject)
        return Tombstone(*TOMBSTONE_ROW.unpack(row)) if row else None

    def all_tombstones(self) -> Iterator[Tombstone]:
        """In order of subject id."""
        return (Tombstone(*row) for row in TOMBSTONE_ROW.iter_unpack(self.tombstones.encode()))

    def apply(self, record: bytes, epoch: int) -> list[bytes]:
        """Carry out one record of the journal of `epoch`; returns the subjects that got a new key.

        Raises:
            Damaged: an operation that this state does not allow.
        """
        if len(record) % _OPERATION.size:
            raise Damaged(f"a journal record of {len(record)} bytes is no whole number of operations")
        fresh = []
        for act, subject, number, key in _OPERATION.iter_unpack(record):
            if act == Act.NEW_KEY:
                self._new_key(subject, number, key)
                fresh.append(subject)
            elif act == Act.CLOSE:
                self.closed.put(subject, CLOSED_ROW.pack(subject, number))
            elif act == Act.REOPEN:
                self.closed.put(subject, b"")
            elif act == Act.DESTROY_VERSION:
                self._destroy_version(subject, number)
                self.dropping = True
            elif act == Act.DESTROY_SUBJECT:
                self.keys.put(subject, b"")
                self.closed.put(subject, b"")
                self.tombstones.put(subject, TOMBSTONE_ROW.pack(subject, epoch, number))
                self.dropping = True
            elif act == Act.EPOCH_DESTROYED:
                self.destroyed_through = number
            else:
                raise Damaged(f"journal operation {act} is not known")
        return fresh

    def _new_key(self, subject: bytes, version: int, key: bytes) -> None:
        rows = bytearray(self.keys.get(subject))
        held = len(rows) // KEY_ROW.size
        if version != held + 1 or self.tombstones.get(subject):
            raise Damaged(f"the journal gives a subject key version {version} after {held}, or after its end")
        if held:
            rows[_STATE_AT - KEY_ROW.size] = S.RESTORE_ONLY  # the last version is the only active one
        self.keys.put(subject, bytes(rows) + KEY_ROW.pack(subject, version, S.ACTIVE, key))

    def _destroy_version(self, subject: bytes, version: int) -> None:
        rows = bytearray(self.keys.get(subject))
        held = len(rows) // KEY_ROW.size
        if not 1 <= version < held:
            raise Damaged(f"the journal destroys key version {version} of a subject that has {held}")
        KEY_ROW.pack_into(rows, (version - 1) * KEY_ROW.size, subject, version, S.DESTROYED, _NO_KEY)
        self.keys.put(subject, bytes(rows))

    def encode(self) -> bytes:
        """The plaintext of a snapshot."""
        parts = [_NUMBERS.pack(self.openings, self.destroyed_through)]
        for table in (self.keys, self.closed, self.tombstones):
            block = table.encode()
            parts += [_COUNT.pack(len(block) // table.size), block]
        return b"".join(parts)

    @classmethod
    def decode(cls, plaintext: bytes) -> State:
        """Read what `encode` wrote.

        Raises:
            Damaged: counts and length do not agree.
        """
        state, offset = cls(), _NUMBERS.size
        try:
            state.openings, state.destroyed_through = _NUMBERS.unpack_from(plaintext)
            for name in ("keys", "closed", "tombstones"):
                size = getattr(state, name).size
                (count,) = _COUNT.unpack_from(plaintext, offset)
                start = offset + _COUNT.size
                offset = start + count * size
                setattr(state, name, SortedRows(size, plaintext[start:offset]))
        except (struct.error, OverflowError):  # the latter for an offset beyond any memory
            offset = -1
        if offset != len(plaintext):
            raise Damaged("the content of the snapshot does not have the length that its counts say")
        rows = state.keys.encode()
        if not set(rows[_STATE_AT :: KEY_ROW.size]) <= set(S) or any(any(rows[at :: KEY_ROW.size]) for at in _ZEROS_AT):
            raise Damaged("the snapshot holds a key version in a state that is not known")
        return state
