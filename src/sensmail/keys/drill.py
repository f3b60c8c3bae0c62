"""The recovery drill: proof that two officers open a copy of the key file without this host's root key."""

from __future__ import annotations

from dataclasses import dataclass

from sensmail.keys import replicas
from sensmail.keys.material import KeyState
from sensmail.keys.places import Place
from sensmail.keys.roots import Roots


@dataclass(frozen=True)
class Drill:
    """What the officers found in a copy. Compare with the running keyring's status; holds no key."""

    ring: str
    epoch: int
    sequence: int
    subjects: int
    usable_versions: int
    tombstones: int


def drill(place: Place, officers: Roots) -> Drill:
    """Open the copy in `place` by two officers and read every key in it. Writes nothing.

    Args:
        place: any directory that holds a copy.
        officers: the `PiecesRoot` of their two pieces.

    Raises:
        RecoveryError: these officers do not open it. KeyFileMissing, Damaged, PlaceUnreachable.
    """
    journal, state = replicas.read_copy(place, officers)
    subjects = list(state.keys.subjects())
    usable = sum(key.state is not KeyState.DESTROYED for each in subjects for key in state.versions(each))
    tombstones = sum(1 for _ in state.all_tombstones())
    return Drill(journal.epoch.ring.hex(), journal.epoch.number, journal.sequence, len(subjects), usable, tombstones)
