"""What a report may show of a keyring: no key, no subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sensmail.keys import slot
from sensmail.keys.counter import Counter
from sensmail.keys.material import KeyState
from sensmail.keys.recovery import officers_of
from sensmail.keys.replicas import Replicas
from sensmail.keys.state import State


@dataclass(frozen=True)
class Status:
    """Where a key file stands."""

    ring: str  # hexadecimal, as are root and officers
    epoch: int
    sequence: int
    destroying: bool  # an old epoch key, or a key that was dropped, may still be readable somewhere
    destroyed_through: int  # highest epoch whose key is in no place any more
    root: str  # id of the root key that wraps this epoch
    officers: tuple[str, ...]  # public keys of those who can open it, or nobody
    places: Mapping[str, str]  # directory: "in step", or what is wrong
    lost: Mapping[str, int]  # directory: when it was declared destroyed physically (seconds), which an officer attests
    counts: Mapping[str, int]  # key versions by state; subjects, closed, tombstones
    issued: int  # opening numbers
    settled: int

    @property
    def recovery(self) -> bool:
        """Whether officers can open it."""
        return bool(self.officers)


def status(held: Replicas, state: State, numbers: Counter) -> Status:
    """Read the slot of the first place and count.

    Raises:
        PlaceUnreachable, Damaged: of that slot.
    """
    first, name = held.places[0], slot.name(held.epoch.number)
    wrapped = slot.parse(first.read(name), f"{first}: {name}")
    officers = officers_of(wrapped.recovery)
    return Status(
        ring=held.epoch.ring.hex(),
        epoch=held.epoch.number,
        sequence=held.journal.sequence,
        destroying=state.dropping or state.destroyed_through < held.epoch.number - 1,
        destroyed_through=state.destroyed_through,
        root=wrapped.root.hex(),
        officers=tuple(each.hex() for each in officers.keys) if officers else (),
        places={str(each): str(held.behind.get(each, "in step")) for each in held.places},
        lost={directory: when for directory, when in state.places.items() if when},
        counts=_counts(state),
        issued=numbers.issued,
        settled=numbers.settled,
    )


def _counts(state: State) -> dict[str, int]:
    states = state.states()
    counts = {each.name.lower(): states[each] for each in KeyState}
    subjects = counts["active"]  # every subject has exactly one
    return counts | {"subjects": subjects, "closed": state.closed.count(), "tombstones": state.tombstones.count()}
