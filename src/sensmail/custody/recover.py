"""Take over the keys of a lost host, from a copy of one place and two officers' pieces, without the old root key.

`python -m sensmail.custody.recover`, started by `sensmail keys recover` as unit sensmail-keyd-recover.service: it runs
with the account, the credentials and the sandbox of the key service, and finds copy and pieces in memory (STAGE), from
where it removes them as soon as it has read them. A recovery that was cut off anywhere is completed by the next one.
Without a copy it fills an empty place from the others.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sensmail.host.hardening import HardeningError, harden
from sensmail.keyd.settings import load
from sensmail.keys import (
    Drill,
    KeyFailure,
    Keyring,
    Place,
    Root,
    Status,
    drill,
    journal,
    remembered,
    replicas,
    slot,
    snapshot,
)
from sensmail.keys.errors import CounterLost, Diverged, KeyFileExists, KeyFileMissing, PlaceEmpty, PlaceNotNamed
from sensmail.keys.pieces import Piece, PiecesRoot
from sensmail.keys.state import State

STAGE = Path("/run/sensmail-keyd-recover")
COPY, PIECES, REQUEST, RESULT = "copy", ("one.piece", "two.piece"), "request.json", "result.json"


class Request(msgspec.Struct, frozen=True):
    """What the command asks for besides copy and pieces."""

    issued: int  # the highest opening number in the records
    lost: list[str] = []  # places that were given up, as the key file remembers them
    replaced: list[str] = []  # places that are empty because another disk stands there now


class Recovered(msgspec.Struct, frozen=True):
    """What the recovery did; holds no key. `error` is all there is when it failed."""

    ring: str = ""
    epoch: int = 0
    subjects: int = 0
    tombstones: int = 0
    discarded: str = ""  # ring of the empty key file that this host had made for itself
    steps: list[str] = []
    error: str = ""


def recover(copy: Place, pieces: PiecesRoot, places: Sequence[Place], roots: Sequence[Root], ask: Request) -> Recovered:
    """Bring the copy into every place, in a new epoch wrapped by this host's newest root.

    Raises:
        KeyFileExists: a place holds somebody's keys. RecoveryError: the pieces do not open the copy.
        KeyFailure: a place does not answer, or the root key is not there.
    """
    steps: list[str] = []
    discarded = ""
    held, here = _header(copy), _header(places[0])
    if held and here and here.ring == held.ring and here.epoch > held.epoch:
        steps.append(f"{places[0]}: recovered before, epoch {here.epoch}")
    else:
        found = drill(copy, pieces)  # everything opens, before anything is written
        steps.append(f"{copy}: opens; {found.subjects} subjects, epoch {found.epoch}")
        discarded = _make_room(places, roots, found.ring)
        if discarded:
            steps.append(f"removed key file {discarded}, which this host had made for itself and never used")
        _take(copy, places[0], pieces, found)
        lost = [Path(each) for each in ask.lost]
        with Keyring.open(places, pieces, fill_empty=True, issued=ask.issued, lost=lost) as ring:
            ring.roll(root=roots[-1])
        steps.append("rolled: a new epoch in every place, wrapped by this host's root")
    with Keyring.open(places, roots) as ring:
        if ring.status().destroying:
            ring.roll()
            steps.append("rolled: the copy's epoch is gone from every place")
        status = ring.status()
    return _result(status, steps, discarded)


def fill(places: Sequence[Place], roots: Sequence[Root], ask: Request) -> Recovered:
    """Fill empty places from those that hold the key file, and repair a lost counter; the root key is still here.

    Raises:
        KeyFileMissing: none holds it. PlaceEmpty: one that held it is empty now, and nobody said that it was replaced.
        KeyFailure: a place does not answer, or the root key does not open it.
    """
    holding = [place for place in places if _header(place)]
    empty = [place for place in places if place not in holding]
    if not holding:
        names = ", ".join(map(str, places))
        raise KeyFileMissing(f"{names}: no place holds a key file; `sensmail keys recover` takes one from a copy")
    _require_said(replicas.read_copy(holding[0], roots)[1], empty, ask)
    lost, replaced = [Path(each) for each in ask.lost], [Path(each) for each in ask.replaced]
    steps = [f"{place}: filled" for place in empty] or ["every place holds the key file"]
    # Whoever leads has the counter; the second opening makes that the first place again.
    for order, given_up, new in (([*holding, *empty], lost, replaced), (list(places), [], [])):
        try:
            ring = Keyring.open(order, roots, fill_empty=True, lost=given_up, replaced=new)
        except CounterLost:
            ring = Keyring.open(order, roots, fill_empty=True, lost=given_up, replaced=new, issued=ask.issued)
            steps.append(f"{order[0]}: openings are counted on from {ask.issued}")
        with ring:
            status = ring.status()
    return _result(status, steps)


def _require_said(state: State, empty: Sequence[Place], ask: Request) -> None:
    """An empty place that held the key file is another disk: what became of the one before must be said."""
    names = {remembered.name(each.directory) for each in empty}
    said = {remembered.name(Path(each)) for each in ask.replaced}
    for each in said - names:
        raise PlaceNotNamed(f"{each}: cannot be declared replaced: it holds a copy, or is no place of this host")
    for place in sorted(names - said):
        if state.places.get(place) == 0:
            raise PlaceEmpty(
                f"{place}: held a copy, which would still open after a roll, and is empty now: mount it. "
                f"Once its disk is destroyed physically, `sensmail keys fill --replaced {place}`"
            )


def _result(status: Status, steps: list[str], discarded: str = "") -> Recovered:
    subjects, tombstones = status.counts["subjects"], status.counts["tombstones"]
    return Recovered(status.ring, status.epoch, subjects, tombstones, discarded, steps)


def _header(place: Place) -> snapshot.Header | None:
    data = place.read(snapshot.NAME)
    return None if data is None else snapshot.header(data, f"{place}: {snapshot.NAME}")


def _make_room(places: Sequence[Place], roots: Sequence[Root], ring: str) -> str:
    """Remove the empty key file that the deployment made; refuse to touch one that holds anybody's keys."""
    discarded = ""
    for place in places:
        head = _header(place)
        if head is None or head.ring.hex() == ring:
            continue
        _, state = replicas.read_copy(place, roots)
        if state.keys.encode() or state.tombstones.encode():
            raise KeyFileExists(
                f"{place}: holds key file {head.ring.hex()}, which is in use; recover on a host that has none, or move "
                "the files of that directory away yourself; nothing was changed"
            )
        discarded = head.ring.hex()
        for name in [snapshot.NAME, *place.names()]:  # the snapshot first: without it, the rest is nothing
            if name != "lock":
                place.remove(name)
    return discarded


def _take(copy: Place, first: Place, pieces: PiecesRoot, found: Drill) -> None:
    """Copy the key file into the first place, its snapshot last; nothing when an earlier attempt did.

    Raises:
        Diverged: the first place holds an older state of the same key file.
    """
    if head := _header(first):
        if head.epoch < found.epoch or drill(first, pieces).sequence < found.sequence:
            raise Diverged(f"{first}: holds an older state of this key file than {copy}; move its files away; repeat")
        return
    name = slot.name(found.epoch)
    first.overwrite(name, copy.read(name) or b"")
    name = journal.name(found.epoch)
    first.create(name, copy.read(name) or b"")
    first.create(snapshot.NEW, copy.read(snapshot.NAME) or b"")
    first.publish(snapshot.NEW, snapshot.NAME)


def main(stage: Path = STAGE) -> int:
    """Read the stage, recover, and leave the result there. Exit code 1 when it was refused."""
    try:
        result = _staged(stage)
    except (KeyFailure, HardeningError, msgspec.MsgspecError, OSError) as error:
        result = Recovered(error=f"{error}")
    (stage / RESULT).write_bytes(msgspec.json.encode(result))
    return 1 if result.error else 0


class _Held(Place):
    """A copy whose files are in memory only."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.directory)
        self._held = {name: place.read(name) for name in place.names()}

    def read(self, name: str) -> bytes | None:
        return self._held.get(name)


def _staged(stage: Path) -> Recovered:
    try:
        harden()
        ask = msgspec.json.decode((stage / REQUEST).read_bytes(), type=Request)
        given = _given(stage)
    finally:
        _remove(stage)  # a recovery that is cut off leaves none of it
    settings = load()
    roots, places = settings.roots(), [Place(each) for each in settings.places]
    if given is None:
        return fill(places, roots, ask)
    return recover(*given, places, roots, ask)


def _given(stage: Path) -> tuple[Place, PiecesRoot] | None:
    """Copy and pieces, read into memory; None without a copy."""
    if not (stage / COPY).exists():
        return None
    one, two = (Piece.decode((stage / name).read_bytes(), name) for name in PIECES)
    return _Held(Place(stage / COPY)), PiecesRoot(one, two)


def _remove(stage: Path) -> None:
    for name in PIECES:
        (stage / name).unlink(missing_ok=True)
    shutil.rmtree(stage / COPY, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
