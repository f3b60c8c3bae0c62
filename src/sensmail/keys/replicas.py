"""The same key file in several places.

Rules. A record goes to the first place first and is acknowledged when every place has synced it. So every place holds
every acknowledged record; the first may hold one more, which was never acknowledged and is adopted on opening. A place
that holds more than the first means that the first was put back to an older state: refused. Bytes after the last whole
record are a torn write, and dropped, only when no other place holds that record whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sensmail.keys import journal, remembered, slot, snapshot
from sensmail.keys.errors import (
    RESTART,
    Damaged,
    Diverged,
    FirstPlaceBehind,
    KeyFailure,
    KeyFileMissing,
    PlaceEmpty,
    PlaceUnreachable,
    Unusable,
)
from sensmail.keys.journal import Journal, Scan
from sensmail.keys.places import Place
from sensmail.keys.roots import Root, Roots, as_tuple
from sensmail.keys.slot import Slot
from sensmail.keys.snapshot import Epoch
from sensmail.keys.state import State

_REFILL = "move its files away, then `sensmail keys fill`"


@dataclass(frozen=True)
class _Copy:
    """One place's files as read: current snapshot and journal."""

    snapshot: bytes
    scan: Scan
    journal: bytes


class Replicas:
    """All places of one key file, and where its journal stands."""

    def __init__(self, places: Sequence[Place], journal_: Journal, wrapped: Slot) -> None:
        self.places = tuple(places)
        self.journal = journal_
        self.slot = wrapped  # of the epoch in use, as written here or as the root opened it: the file may change
        self.behind: dict[Place, KeyFailure] = {}  # places that miss something, and why
        self.unknown: frozenset[Place] = frozenset()  # not remembered by the key file, so not to be filled yet
        self._broken = ""

    @property
    def epoch(self) -> Epoch:
        """The epoch in use."""
        return self.journal.epoch

    def append(self, record: bytes) -> None:
        """Make one record durable in every place.

        Raises:
            PlaceUnreachable, PlaceFull: nothing was kept anywhere.
            Unusable: it could not be taken back; whether it was kept shows on opening.
        """
        self._append(record, self.places)

    def remember(self, record: bytes) -> None:
        """Make the record that names all places durable where the key file lies; only then fill those that are new.

        Raises:
            As `append`, of the places that were known before.
        """
        first, *others = self.places
        self._append(record, (first, *(each for each in others if each not in self.unknown)))
        for place in self.unknown - {first}:
            self.behind.setdefault(place, PlaceUnreachable(f"{place}: is new, and not filled yet"))
        self.unknown = frozenset()
        self.catch_up()

    def _append(self, record: bytes, places: Sequence[Place]) -> None:
        self._require(places)
        frame, name, reached = self.journal.frame(record), self.journal.name, []
        self._broken = "a write was interrupted"
        try:
            for place in places:
                reached.append(place)
                place.append(name, self.journal.end, frame)
        except KeyFailure as failure:
            self._take_back(reached, failure)
            raise
        self._broken, self.journal = "", self.journal.after(frame)

    def require_all(self) -> None:
        """Every place answers and is up to date.

        Raises:
            PlaceUnreachable: one does not. Unusable, Damaged.
        """
        self._require(self.places)

    def _require(self, places: Sequence[Place]) -> None:
        self.require_sound()
        first, name, end = self.places[0], self.journal.name, self.journal.end
        if first.size(name) != end:
            raise Damaged(f"{first}: {name} was changed by another program; {RESTART}")
        for place in places[1:]:
            try:
                if place.size(name) != end:
                    self.behind[place] = Damaged(f"{place}: {name} is not as long as that of {first}")
            except PlaceUnreachable as failure:
                self.behind[place] = failure
        self.catch_up()
        for place, reason in self.behind.items():
            if place in places:
                raise PlaceUnreachable(str(reason)) from reason

    def require_sound(self) -> None:
        """Raise Unusable after a failure that could not be taken back."""
        if self._broken:
            raise Unusable(f"{self.places[0]}: {self._broken}; {RESTART}")

    def require_slot(self) -> None:
        """The first place holds the slot that was opened, or written by the last roll.

        Raises:
            Damaged: it holds another, so somebody else wrote it. PlaceUnreachable.
        """
        first, name = self.places[0], slot.name(self.epoch.number)
        if first.read(name) != self.slot.pack():
            fix = "find out who writes there, and take it from another place"
            raise Damaged(f"{first}: {name} was changed since the key file was opened or last rolled; {fix}")

    def break_off(self, why: str) -> None:
        """From here on, what is on disk is uncertain until the file is opened again; `mend` takes it back."""
        self._broken = why

    def mend(self, journal_: Journal, wrapped: Slot) -> None:
        """What is on disk is known again."""
        self._broken, self.journal, self.slot = "", journal_, wrapped

    def catch_up(self) -> None:
        """Bring places that are behind to the first place's state, where they can be reached and are remembered."""
        for place in [each for each in self.behind if each not in self.unknown]:
            try:
                self._refill(place)
            except PlaceUnreachable as failure:
                self.behind[place] = failure
            else:
                del self.behind[place]

    def _refill(self, place: Place) -> None:
        first, name = self.places[0], self.journal.name
        current, records = first.read(snapshot.NAME), (first.read(name) or b"")[: self.journal.end]
        if current is None:
            raise PlaceUnreachable(f"{first}: {snapshot.NAME} is gone; bring the place back")
        if place.read(snapshot.NAME) == current and (held := place.read(name)) is not None:
            common = len(held) if records.startswith(held) else _common(held, records)
            place.cut(name, common)
            place.append(name, common, records[common:])
            return
        wrapped, other = slot.name(self.epoch.number), slot.name(self.epoch.number + 1)
        place.overwrite(wrapped, first.read(wrapped) or b"")
        place.create(name, records)
        place.create(snapshot.NEW, current)
        place.publish(snapshot.NEW, snapshot.NAME)
        before = first.read(other)
        if before is None or not slot.parse(before, f"{first}: {other}").live:
            bury(place, self.epoch)

    def _take_back(self, reached: list[Place], cause: KeyFailure) -> None:
        """The first place last: as long as it keeps the record, opening again adopts it everywhere."""
        try:
            for place in reversed(reached):
                place.cut(self.journal.name, self.journal.end)
        except KeyFailure as failure:
            self._broken = f"a record could be neither kept nor taken back ({cause}; {failure})"
        else:
            self._broken = ""


def _common(one: bytes, two: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def bury(place: Place, epoch: Epoch) -> None:
    """Overwrite the slot of the epoch before this one in place, read it back, and remove what only its key opened.

    Raises:
        PlaceUnreachable. Damaged: the slot does not read back as written.
    """
    name = slot.name(epoch.number - 1)
    dead = Slot(epoch.ring, epoch.number - 1, live=False).pack()
    place.overwrite(name, dead)
    if place.read(name) != dead:
        raise Damaged(f"{place}: {name}: does not read back as destroyed; replace this disk")
    for left in place.names():
        if left == snapshot.NEW or (left.startswith("journal.") and left != journal.name(epoch.number)):
            place.remove(left)


def read_copy(place: Place, roots: Roots) -> tuple[Journal, State]:
    """Read one place by itself: no lock, nothing written. For drills; a torn last record is left out.

    Raises:
        KeyFileMissing, Damaged, WrongRoot, RootUnavailable, RecoveryError, PlaceUnreachable.
    """
    epoch, _, copy = _open_first(place, as_tuple(roots))
    return copy.scan.journal, _replay(epoch, copy, place)[0]


def load(
    places: Sequence[Place],
    roots: Sequence[Root],
    *,
    fill_empty: bool,
    lost: Sequence[Path] = (),
    replaced: Sequence[Path] = (),
) -> tuple[Replicas, State, list[bytes], remembered.Places]:
    """Open the key file of the first place and compare every other place with it.

    Returns:
        The places, the state, the subjects that got a key in the last record, which other places may not have yet, and
        what the key file is to remember of its places.

    Raises:
        PlaceNotNamed: nothing was written.
        KeyFileMissing, Damaged, Diverged, FirstPlaceBehind, PlaceEmpty, PlaceUnreachable, WrongRoot, RootUnavailable.
    """
    first = places[0]
    epoch, wrapped, copy = _open_first(first, roots)
    replicas = Replicas(places, copy.scan.journal, wrapped)
    for place in places[1:]:
        try:
            _compare(place, epoch, copy, replicas, fill_empty=fill_empty)
        except PlaceEmpty:
            raise
        except PlaceUnreachable as failure:
            if copy.scan.rest:
                text = f"{first}: its journal ends in a torn record, and only {place} can tell: {failure}"
                raise PlaceUnreachable(text) from failure
            replicas.behind[place] = failure
    state, fresh = _replay(epoch, copy, first)
    known = remembered.compare(state.places, places, lost, replaced)
    new = {remembered.name(each) for each in replaced}  # filled only once it is remembered what became of the old one
    names = {each: remembered.name(each.directory) for each in places}
    replicas.unknown = frozenset(each for each in places if names[each] in new or state.places.get(names[each]) != 0)
    _settle(first, copy)
    replicas.catch_up()
    return replicas, state, fresh, known


def _replay(epoch: Epoch, copy: _Copy, place: Place) -> tuple[State, list[bytes]]:
    state = State.decode(snapshot.open_snapshot(epoch, copy.snapshot, str(place)))
    fresh: list[bytes] = []
    for record in copy.scan.records:
        fresh = state.apply(record, epoch.number)
    return state, fresh


def _open_first(place: Place, roots: Sequence[Root]) -> tuple[Epoch, Slot, _Copy]:
    data = place.read(snapshot.NAME)
    if data is None:
        raise KeyFileMissing(f"{place}: holds no key file; mount what belongs there, or `sensmail keys fill`")
    found = snapshot.header(data, str(place))
    name = slot.name(found.epoch)
    wrapped = slot.parse(place.read(name), f"{place}: {name}")
    if (wrapped.ring, wrapped.epoch) != (found.ring, found.epoch):
        raise Damaged(f"{place}: {name} is of epoch {wrapped.epoch}, the snapshot of epoch {found.epoch}")
    epoch = Epoch(found.ring, found.epoch, wrapped.unwrap(roots, f"{place}: {name}"))
    return epoch, wrapped, _read(place, epoch, found.sequence, data)


def _read(place: Place, epoch: Epoch, sequence: int, data: bytes) -> _Copy:
    start = Journal.start(epoch, sequence, data)
    records = place.read(start.name)
    scan = journal.scan(start, records, f"{place}: {start.name}")
    if scan.followed:
        raise Damaged(f"{place}: {start.name}: record {scan.journal.sequence + 1} was changed; {_REFILL}")
    return _Copy(data, scan, records or b"")


def _compare(place: Place, epoch: Epoch, first: _Copy, replicas: Replicas, *, fill_empty: bool) -> None:
    data = place.read(snapshot.NAME)
    if data is None:
        if not fill_empty:
            raise PlaceEmpty(f"{place}: is empty; mount what belongs there, or `sensmail keys fill`")
        replicas.behind[place] = PlaceEmpty(f"{place}: is empty")
        return
    found = snapshot.header(data, str(place))
    if found.ring != epoch.ring:
        raise Diverged(
            f"{place}: holds another key file than {replicas.places[0]}; correct keys_places, and run role keys"
        )
    if found.epoch < epoch.number:
        replicas.behind[place] = PlaceUnreachable(f"{place}: still in epoch {found.epoch}")
        return
    leads = replicas.places[0]
    fix = f"move the files of {leads} away, then `sensmail keys fill`"
    behind = f"{leads}: is older than {place}: it was put back, or damaged; {fix}"
    if found.epoch > epoch.number:
        raise FirstPlaceBehind(behind)
    name = slot.name(epoch.number)
    if data != first.snapshot or place.read(name) != replicas.places[0].read(name):
        raise Diverged(f"{place}: {snapshot.NAME} or {name} is not that of {replicas.places[0]}; {_REFILL}")
    theirs = _read(place, epoch, found.sequence, data)
    if theirs.scan.journal.sequence > first.scan.journal.sequence:
        raise FirstPlaceBehind(behind)
    ours, theirs_end = first.journal[: first.scan.journal.end], theirs.scan.journal
    if theirs.journal == ours:
        return
    torn = len(theirs.journal) < len(ours) and theirs_end.end >= first.scan.last
    if not torn or theirs.journal[: theirs_end.end] != ours[: theirs_end.end]:
        raise Diverged(f"{place}: {theirs_end.name} is not that of {replicas.places[0]}; {_REFILL}")
    replicas.behind[place] = PlaceUnreachable(f"{place}: misses the last record")


def _settle(first: Place, copy: _Copy) -> None:
    """Drop a torn record, and write the last one again: after a failed sync it may be in memory only."""
    end = copy.scan.journal
    if copy.scan.rest:
        first.cut(end.name, end.end)
    first.append(end.name, copy.scan.last, copy.journal[copy.scan.last : end.end])
    first.files.fsync_directory(first.directory)
