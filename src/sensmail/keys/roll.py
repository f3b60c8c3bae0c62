"""The roll: a new epoch key for everything that is left, and the end of the old one in every place.

1. prepare: the new slot, journal and snapshot become durable in every place, under names that nothing refers to yet.
2. publish: the new snapshot takes the old one's name, in the first place first. From here on the new epoch is in use.
3. acknowledge: every place's slot and snapshot are read back and opened.
4. bury: the old epoch's slot is overwritten in place in every place, and read back.
5. record: a record says so. Only now is a subject whose keys were dropped destroyed.

A failure in 1 leaves everything as it was. A failure in 2 to 5 leaves the state `destroying`, which `finish` completes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from sensmail.keys import journal, slot, snapshot
from sensmail.keys.errors import RESTART, Damaged, KeyFailure, RollIncomplete, Unusable
from sensmail.keys.journal import Journal
from sensmail.keys.material import KEY_BYTES
from sensmail.keys.places import Place
from sensmail.keys.recovery import Officers
from sensmail.keys.replicas import Replicas, bury
from sensmail.keys.roots import Root
from sensmail.keys.slot import Slot
from sensmail.keys.snapshot import Epoch
from sensmail.keys.state import Act, Operation, State, pack

Progress = Callable[[str], object]  # told "prepare", "publish", "acknowledge", "bury", "record" as each begins


def silent(_phase: str) -> None:
    """For a roll that nobody watches."""


def begin(replicas: Replicas, state: State, root: Root, officers: Officers | None, progress: Progress) -> None:
    """Steps 1 and 2.

    Raises:
        PlaceUnreachable, PlaceFull, RootError: nothing has changed.
        RollIncomplete: the new epoch is in use, a place misses it.
        Unusable: whether the new epoch is in use shows on opening.
    """
    progress("prepare")
    replicas.require_all()
    old = replicas.epoch
    epoch = Epoch(old.ring, old.number + 1, os.urandom(KEY_BYTES))
    data = snapshot.seal(epoch, replicas.journal.sequence, state.encode())
    start = Journal.start(epoch, replicas.journal.sequence, data)
    try:
        wrapped = wrap(epoch, root, officers)
        prepare(replicas.places, start, data, wrapped)
    except KeyFailure:
        for place in replicas.places:
            _discard(place, epoch)
        raise
    progress("publish")
    replicas.break_off("a roll was interrupted")
    try:
        replicas.places[0].publish(snapshot.NEW, snapshot.NAME)
    except KeyFailure as failure:
        raise Unusable(f"{failure}; {RESTART}") from failure
    replicas.mend(start, wrapped)
    state.dropping = False
    for place in replicas.places[1:]:
        try:
            place.publish(snapshot.NEW, snapshot.NAME)
        except KeyFailure as failure:
            replicas.behind[place] = failure
    incomplete(replicas)


def finish(replicas: Replicas, state: State, roots: Sequence[Root], progress: Progress) -> None:
    """Steps 3 to 5, and whatever an earlier roll left undone; nothing when nothing is.

    Raises:
        RollIncomplete: a place does not answer, or does not open what it holds; the next call goes on from there.
    """
    ended = replicas.epoch.number - 1
    if state.destroyed_through >= ended:
        return
    progress("acknowledge")
    replicas.catch_up()
    record = pack([Operation(Act.EPOCH_DESTROYED, number=ended)])
    try:
        for place in replicas.places:
            acknowledge(place, replicas, roots)
        progress("bury")
        for place in replicas.places:
            bury(place, replicas.epoch)
        progress("record")
        replicas.append(record)
    except KeyFailure as failure:
        raise RollIncomplete(f"epoch {ended} is not destroyed everywhere yet: {failure}; then roll again") from failure
    state.apply(record, replicas.epoch.number)


def incomplete(replicas: Replicas) -> None:
    """Raise RollIncomplete when a place is behind."""
    for failure in replicas.behind.values():
        raise RollIncomplete(f"a place still holds the old epoch: {failure}; then roll again") from failure


def prepare(places: tuple[Place, ...], start: Journal, data: bytes, wrapped: Slot) -> None:
    """Step 1: everything that the new snapshot needs, and the snapshot itself under a temporary name."""
    for place in places:
        place.overwrite(slot.name(start.epoch.number), wrapped.pack())
        place.create(start.name, start.head)
        place.create(snapshot.NEW, data)


def wrap(epoch: Epoch, root: Root, officers: Officers | None) -> Slot:
    """The slot of an epoch. Raises RootError."""
    recovery = officers.wrap(epoch.key, slot.context(epoch.ring, epoch.number)) if officers else b""
    wrapped = root.wrap(epoch.key, slot.root_context(epoch.ring, epoch.number, recovery))
    return Slot(epoch.ring, epoch.number, True, root.identity(), wrapped, recovery)


def acknowledge(place: Place, replicas: Replicas, roots: Sequence[Root]) -> None:
    """Step 3: read back what this place holds, unwrap it by its root and open the whole snapshot.

    Raises:
        Damaged: it does not open, or opens to something else. PlaceUnreachable, RootError.
    """
    name = slot.name(replicas.epoch.number)
    held = slot.parse(place.read(name), f"{place}: {name}")
    epoch = Epoch(held.ring, held.epoch, held.unwrap(roots, f"{place}: {name}"))
    data = place.read(snapshot.NAME) or b""
    found = snapshot.header(data, str(place))
    if epoch != replicas.epoch or (found.ring, found.epoch) != (epoch.ring, epoch.number):
        raise Damaged(f"{place}: does not hold epoch {replicas.epoch.number}")
    snapshot.open_snapshot(epoch, data, str(place))


def _discard(place: Place, epoch: Epoch) -> None:
    """A new epoch that never began: its key goes as well, where the place can still be reached."""
    with contextlib.suppress(KeyFailure):
        place.overwrite(slot.name(epoch.number), Slot(epoch.ring, epoch.number, live=False).pack())
        place.remove(snapshot.NEW)
        place.remove(journal.name(epoch.number))
