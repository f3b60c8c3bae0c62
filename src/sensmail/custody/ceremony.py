"""What people do with the keys on a host: drill, root change, recovery. Each is recorded before and after."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from sensmail.custody import host, root_change
from sensmail.custody.recover import Recovered, Request
from sensmail.custody.root_change import Standing
from sensmail.custody.root_host import RootHost
from sensmail.keyd import policy, register
from sensmail.keyd.caller import name_of, unit_of
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.register import Why
from sensmail.keys import Drill, Place, drill
from sensmail.keys.officer import read
from sensmail.keys.pieces import Piece, PiecesRoot
from sensmail.ledger import Entry, highest_opening, insert, missing_openings
from sensmail.store import connect

Outcome = Literal["done", "refused", "failed", "void"]
Detail = Mapping[str, str | int]

JOBS = "sensmail-jobs"
ROOT_CHANGE = Path("/etc/sensmail/keys/root-change.json")


class DrillFailed(KeyServiceError):
    """The copy opens, but is not one of the running key file, or should not open any more."""


def record(act: str, why: Why, outcome: Outcome, detail: Detail) -> None:
    """One governance record, committed. Raises psycopg.Error, RecordSwallowed, StoreError."""
    with connect(JOBS) as connection:
        given = {"reason": why.reason, **({"approver": why.approver} if why.approver else {}), **detail}
        insert(connection, [Entry("governance", act, why.actor, outcome=outcome, unit=_unit(), detail=given)])


@contextmanager
def recorded(act: str, why: Why, detail: Detail) -> Iterator[dict[str, str | int]]:
    """A record before the block, and one with its outcome after it, with what the block adds to the mapping."""
    record(act, why, "done", {**detail, "phase": "begin"})
    found: dict[str, str | int] = {}
    try:
        yield found
    except BaseException:
        record(act, why, "failed", {**detail, **found, "phase": "end"})
        raise
    record(act, why, "done", {**detail, **found, "phase": "end"})


def open_copy(copy: Path, one: Path, two: Path) -> Drill:
    """Open every key in a copy by two officers' pieces. Writes nothing, needs no host. Raises KeyFailure."""
    return drill(Place(copy), _pieces(one, two))


def drill_here(copy: Path, one: Path, two: Path, service: KeyService, why: Why) -> tuple[Drill, int]:
    """The drill on a host: compared with the running service, and recorded.

    Returns:
        What is in the copy, and how many changes the running key file is ahead of it.

    Raises:
        DrillFailed: another key file, an epoch that should be gone, or a copy ahead of the service.
        KeyFailure: the copy does not open. KeyServiceError.
    """
    with recorded("keys.drill", why, {}) as detail:
        found = open_copy(copy, one, two)
        detail |= {"ring": found.ring, "epoch": found.epoch, "sequence": found.sequence}
        now = service.status()
        if found.ring != now.ring:
            raise DrillFailed(f"{copy}: is a copy of key file {found.ring}; this host runs {now.ring}")
        if found.epoch != now.epoch:
            text = f"{copy}: opens in epoch {found.epoch}, but the service is in epoch {now.epoch}"
            raise DrillFailed(f"{text}: it escaped a roll, and opens keys dropped since; destroy it, and copy again")
        if found.sequence > now.sequence:
            text = f"{copy}: is {found.sequence - now.sequence} changes ahead of the running service"
            raise DrillFailed(f"{text}: the host was put back to an older state. Stop it, and recover from this copy")
        return found, now.sequence - found.sequence


def root_change_begun() -> bool:
    """Whether a root change was cut off on this host. Raises RootChangeError."""
    return root_change.read(ROOT_CHANGE) is not None


def change_root_here(service: KeyService, why: Why) -> Iterator[str]:
    """The root change on this host; a line for each step. See `root_change`.

    Raises:
        Refused: not approved. RootChangeError: what a provider said. KeyServiceError: repeat.
    """
    if not root_change_begun():
        policy.read().keys.require_approval("root", why.approver)
    else:
        host.start()
    ledger = partial(record, "keys.root")
    yield from root_change.change_root(RootHost(), _Running(service), ROOT_CHANGE, why, ledger, _root_destroyed)


class _Running:
    """The running service, as a root change sees it."""

    def __init__(self, service: KeyService) -> None:
        self._service = service

    def standing(self) -> Standing:
        """Which roots there are, and which one wraps."""
        status = self._service.status()
        settled = not status.destroying and all(state == "in step" for state in status.places.values())
        return Standing(status.wrapped_by, frozenset(root.identity for root in status.roots), settled)

    def rewrap(self, why: Why) -> None:
        """Roll, and wrap by the newest root."""
        self._service.roll(why.actor, why.reason, why.approver, rewrap=True)


def _root_destroyed(identity: str, why: Why) -> None:
    with connect(register.ROLE) as connection:
        register.note(connection, register.RootDestroyed(identity, why))
        ended = (each.key for each in register.lines(connection) if each.kind == "root" and each.destroyed)
        if identity not in ended:
            text = f"root {identity}: its end is not in the key register, which does not show it as retired yet"
            raise root_change.RootChangeError(f"{text}; look at the journal of the service, and repeat")


def recover_here(copy: Path, one: Path, two: Path, lost: list[str], why: Why) -> Recovered:
    """Take over the keys of a lost host on this one. See `recover`.

    Raises:
        UnitFailed: with the reason. KeyServiceError, StoreError, psycopg.Error.
    """
    policy.read().keys.require_approval("recover", why.approver)
    pieces = [read(one), read(two)]
    PiecesRoot(*(Piece.decode(data, str(path)) for data, path in zip(pieces, (one, two), strict=True)))
    with recorded("keys.recover", why, {}) as detail:
        done = host.run_recovery(Request(_highest_opening(), lost), copy, pieces)
        detail |= {"ring": done.ring, "epoch": done.epoch}
    if done.discarded:
        with connect(register.ROLE) as connection:
            register.note(connection, register.RingDiscarded(done.discarded, why))
    return done


def fill_here(lost: list[str], replaced: list[str], why: Why, openings: int | None = None) -> Recovered:
    """Fill an empty place from the others, or give lost ones up. Raises as `recover_here`.

    Args:
        lost: places that are no longer used.
        replaced: places where another disk stands now.
        why: for the records.
        openings: where the counter is lost, the number to count on from; the highest of the records without it.
    """
    with recorded("keys.fill", why, {}) as detail:
        issued = _highest_opening() if openings is None else openings
        done = host.run_recovery(Request(issued, lost, replaced))
        detail |= {"ring": done.ring, "epoch": done.epoch}
    return done


def gaps_here(service: KeyService) -> tuple[int, list[range]]:
    """How many openings are settled, and which of them have no record. Raises KeyServiceError, StoreError."""
    through = service.status().settled
    with connect(register.ROLE) as connection:
        return through, missing_openings(connection, through)


def _unit() -> str:
    return name_of(unit_of(Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace")), os.getuid())


def _highest_opening() -> int:
    with connect(register.ROLE) as connection:
        return highest_opening(connection)


def _pieces(one: Path, two: Path) -> PiecesRoot:
    return PiecesRoot(Piece.decode(read(one), str(one)), Piece.decode(read(two), str(two)))
