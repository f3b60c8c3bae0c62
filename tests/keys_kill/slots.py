"""What slots and snapshot of a place hold, read from their bytes as docs/formats.md says, without the engine."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct(">8sB16sQ16sHH")
_SNAPSHOT = struct.Struct(">8s16sQ")
_LIVE, _DESTROYED = 1, 2


@dataclass(frozen=True)
class Slot:
    """One slot: the epoch that it is or was for, and the wrapped key, empty where that is destroyed."""

    epoch: int
    live: bool
    wrapped: bytes
    recovery: bytes


def slots(place: Path) -> list[Slot]:
    """The slots of a place, by epoch."""
    return sorted((_parse(path.read_bytes()) for path in place.glob("slot.?")), key=lambda slot: slot.epoch)


def live(place: Path) -> Slot:
    """The slot of the present epoch; there must be exactly one."""
    found = [slot for slot in slots(place) if slot.live]
    assert len(found) == 1, f"{place}: {[(slot.epoch, slot.live) for slot in slots(place)]}, not one live slot"
    return found[0]


def epoch(place: Path) -> int:
    """The epoch under whose key the snapshot is sealed."""
    magic, _, number = _SNAPSHOT.unpack_from((place / "snapshot").read_bytes())
    assert magic == b"SMSNAP01", magic
    return int(number)


def remains(place: Path, ended: list[Slot]) -> list[str]:
    """Files of a place in which a key of an ended epoch, wrapped by the root or for officers, still stands."""
    wanted = [part for slot in ended for part in (slot.wrapped, slot.recovery) if part]
    return [
        str(path) for path in place.iterdir() if (data := path.read_bytes()) and any(part in data for part in wanted)
    ]


def _parse(data: bytes) -> Slot:
    magic, state, _, epoch, _, wrapped, recovery = _HEAD.unpack_from(data)
    assert magic == b"SMSLOT01", magic
    assert state in {_LIVE, _DESTROYED}, state
    middle = _HEAD.size + wrapped
    return Slot(epoch, state == _LIVE, data[_HEAD.size : middle], data[middle : middle + recovery])
