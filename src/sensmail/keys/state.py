"""What the key file says: keys, closed subjects, tombstones, places. Changed only by applying the journal's records."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from sensmail.keys import remembered
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
# Key versions and tombstones together; no new key goes beyond. Destroying a subject never adds to it, and with every
# subject closed this many take 1.28 GB, so that a snapshot always fits: it holds 2**31 - 1 bytes.
MAX_ROWS = 16_000_000
_NOBODY = bytes(16)


class Act(IntEnum):
    """The kinds of operation; the numbers stand in the journal."""

    NEW_KEY = 1  # number = version; the version before it becomes replaced
    CLOSE = 2  # number = time
    REOPEN = 3
    DESTROY_VERSION = 4  # number = version, which is restore-only
    DESTROY_SUBJECT = 5  # number = time; all versions go, a tombstone stays
    EPOCH_DESTROYED = 6  # number = epoch: no place holds a key of this or an earlier epoch any more
    RETIRE = 7  # every replaced version of every subject becomes restore-only
    DESTROY_RETIRED = 8  # every restore-only version of every subject is destroyed
    PLACES = 9  # a record of its own: this byte, then all places as the snapshot lists them


_FOR_ALL = {Act.EPOCH_DESTROYED, Act.RETIRE, Act.DESTROY_RETIRED}


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


def pack_places(places: Mapping[str, int]) -> bytes:
    """The plaintext of the journal record that says which places there are; see `State.places`."""
    return bytes([Act.PLACES]) + remembered.encode(places)


class State:
    """The content of a key file in memory."""

    def __init__(self) -> None:
        self.keys = SortedRows(KEY_ROW.size)
        self.closed = SortedRows(CLOSED_ROW.size)
        self.tombstones = SortedRows(TOMBSTONE_ROW.size)
        self.rows = 0  # key versions and tombstones, counted along: see MAX_ROWS
        self.places: Mapping[str, int] = {}  # directory: 0, or when it was said to be destroyed physically (seconds)
        self.openings = 0  # highest opening number when the snapshot was written
        self.destroyed_through = 0  # highest epoch of which no place holds the key
        self.dropping = False  # a key was dropped in the present epoch, so a copy of its files still opens it

    def versions(self, subject: bytes) -> list[SubjectKey]:
        """Every version of a subject's key, oldest first."""
        return [
            SubjectKey(subject, version, key, S(state))
            for _, version, state, key in KEY_ROW.iter_unpack(self.keys.get(subject))
        ]

    def version(self, subject: bytes, version: int | None) -> SubjectKey | None:
        """One version of a subject's key, by default the last; None when there is no such version."""
        rows = self.keys.get(subject)
        start = len(rows) - KEY_ROW.size if version is None else (version - 1) * KEY_ROW.size
        if not 0 <= start < len(rows):
            return None
        _, number, state, key = KEY_ROW.unpack_from(rows, start)
        return SubjectKey(subject, number, key, S(state))

    def state(self, subject: bytes, version: int) -> S | None:
        """The state of one version, without a copy of its key; None when there is no such version."""
        rows = self.keys.get(subject)
        at = (version - 1) * KEY_ROW.size + _STATE_AT
        return S(rows[at]) if 0 <= at < len(rows) else None

    def states(self) -> dict[S, int]:
        """How many key versions are in each state."""
        column = self.keys.encode()[_STATE_AT :: KEY_ROW.size]
        return {each: column.count(each) for each in S}

    def count(self, subject: bytes) -> int:
        """How many versions a subject's key ever had; 0 for a subject without keys."""
        return len(self.keys.get(subject)) // KEY_ROW.size

    def newest(self, subject: bytes) -> tuple[int, S | None]:
        """How many versions a subject's key ever had, and the state of the last but one."""
        rows = self.keys.get(subject)
        count = len(rows) // KEY_ROW.size
        return count, S(rows[_STATE_AT - 2 * KEY_ROW.size]) if count > 1 else None

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
        if record[:1] == bytes([Act.PLACES]):
            self.places, end = remembered.decode(record, 1)
            if end != len(record):
                raise Damaged("the journal's list of places does not have the length that its counts say")
            return []
        if len(record) % _OPERATION.size:
            raise Damaged(f"a journal record of {len(record)} bytes is no whole number of operations")
        fresh = []
        for act, subject, number, key in _OPERATION.iter_unpack(record):
            if act == Act.NEW_KEY:
                self._new_key(subject, number, key)
                fresh.append(subject)
            elif act in _FOR_ALL:
                self._apply_to_all(act, number)
            else:
                self._apply_to_one(act, subject, number, epoch)
        return fresh

    def _apply_to_one(self, act: int, subject: bytes, number: int, epoch: int) -> None:
        if act == Act.CLOSE:
            self.closed.put(subject, CLOSED_ROW.pack(subject, number))
        elif act == Act.REOPEN:
            self.closed.put(subject, b"")
        elif act == Act.DESTROY_VERSION:
            self._destroy_version(subject, number)
            self.dropping = True
        elif act == Act.DESTROY_SUBJECT:
            self._destroy_subject(subject, epoch, number)
        else:
            raise Damaged(f"journal operation {act} is not known")

    def _destroy_subject(self, subject: bytes, epoch: int, time: int) -> None:
        self.rows += (not self.tombstones.get(subject)) - self.count(subject)
        self.keys.put(subject, b"")
        self.closed.put(subject, b"")
        self.tombstones.put(subject, TOMBSTONE_ROW.pack(subject, epoch, time))
        self.dropping = True

    def _apply_to_all(self, act: int, number: int) -> None:
        if act == Act.EPOCH_DESTROYED:
            self.destroyed_through = number
        elif act == Act.RETIRE:
            self.keys.rewrite(_retire)
        else:
            self.keys.rewrite(_destroy_retired)
            self.dropping = True

    def _new_key(self, subject: bytes, version: int, key: bytes) -> None:
        rows = bytearray(self.keys.get(subject))
        held = len(rows) // KEY_ROW.size
        if version != held + 1 or (not held and self.tombstones.get(subject)):  # who has keys has no tombstone
            raise Damaged(f"the journal gives a subject key version {version} after {held}, or after its end")
        if held:
            rows[_STATE_AT - KEY_ROW.size] = S.REPLACED  # the last version is the only active one
        self.keys.put(subject, bytes(rows) + KEY_ROW.pack(subject, version, S.ACTIVE, key))
        self.rows += 1

    def _destroy_version(self, subject: bytes, version: int) -> None:
        rows = bytearray(self.keys.get(subject))
        if self.state(subject, version) not in {S.RESTORE_ONLY, S.DESTROYED}:
            raise Damaged(f"the journal destroys key version {version} of a subject, which is not kept for restores")
        KEY_ROW.pack_into(rows, (version - 1) * KEY_ROW.size, subject, version, S.DESTROYED, _NO_KEY)
        self.keys.put(subject, bytes(rows))

    def encode(self) -> bytes:
        """The plaintext of a snapshot."""
        parts = [_NUMBERS.pack(self.openings, self.destroyed_through), remembered.encode(self.places)]
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
        state = cls()
        try:
            state.openings, state.destroyed_through = _NUMBERS.unpack_from(plaintext)
            state.places, offset = remembered.decode(plaintext, _NUMBERS.size)
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
        state.rows = state.keys.count() + state.tombstones.count()
        rows = state.keys.encode()
        if not set(rows[_STATE_AT :: KEY_ROW.size]) <= set(S) or any(any(rows[at :: KEY_ROW.size]) for at in _ZEROS_AT):
            raise Damaged("the snapshot holds a key version in a state that is not known")
        return state


def _retire(block: bytearray) -> None:
    states = block[_STATE_AT :: KEY_ROW.size]
    block[_STATE_AT :: KEY_ROW.size] = states.replace(bytes([S.REPLACED]), bytes([S.RESTORE_ONLY]))


def _destroy_retired(block: bytearray) -> None:
    retired = bytes([S.RESTORE_ONLY])
    states = bytes(block[_STATE_AT :: KEY_ROW.size])
    row = states.find(retired)
    while row >= 0:
        end = (row + 1) * KEY_ROW.size
        block[end - KEY_BYTES : end] = _NO_KEY
        row = states.find(retired, row + 1)
    block[_STATE_AT :: KEY_ROW.size] = states.replace(retired, bytes([S.DESTROYED]))
