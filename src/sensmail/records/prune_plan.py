"""What of the ledgers may go: whole partitions whose time is over, up to a size that a witness has cosigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import LiteralString

from sensmail.records import checkpoint, cosignature, export, note
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.entry import LEDGERS, Ledger
from sensmail.records.errors import NotProven, RecordsError
from sensmail.records.note import Note, VerifierKey
from sensmail.records.retention import Terms
from sensmail.records.tree import Range
from sensmail.store import Connection

_LOGS: LiteralString = """
    SELECT l.ledger::text, l.generation, l.log_key, h.generation
    FROM records.log AS l JOIN records.head AS h USING (ledger) WHERE l.ledger = %s ORDER BY l.generation
"""
# The last partition of the present generation is open; that of an earlier one ended with its last checkpoint.
_PARTS: LiteralString = """
    SELECT p.part, p.first, coalesce(lead(p.first) OVER (ORDER BY p.part),
        CASE WHEN %(closed)s THEN (SELECT max(size) FROM records.checkpoint AS c
            WHERE c.ledger = p.ledger AND c.generation = %(generation)s) END),
        to_regclass(format('records.%%I', format('%%s_%%s', p.ledger, p.part))) IS NOT NULL, p.made
    FROM records.part AS p WHERE p.ledger = %(ledger)s AND p.part / 1000000 = %(generation)s ORDER BY p.part
"""
_SEALED: LiteralString = "SELECT sealed FROM records.{} WHERE part = %s ORDER BY seq DESC LIMIT 1"
_CUT: LiteralString = """
    SELECT size, range, opening FROM records.cut WHERE ledger = %s AND generation = %s ORDER BY size DESC LIMIT 1
"""


@dataclass(frozen=True)
class Part:
    """One partition: the records from `first` to `end` - 1; `sealed`: the last of them. Times in UTC."""

    number: int
    first: int
    end: int
    sealed: datetime
    due: datetime


@dataclass(frozen=True)
class Covering:
    """A signed checkpoint at or above a cut. `turn`: of its key, for its place in the chain."""

    note: Note
    body: Checkpoint


@dataclass
class Plan:
    """One log.

    Attributes:
        before: the tree at the last cut. opening: the highest opening number below it.
        going: partitions, the oldest first. staying: the first one that does not go, if it has an end.
        covering: what the cut is linked to; None where nothing goes.
        why: what holds back partitions whose time is over; empty where nothing does.
        root: of the tree at the cut, once it is computed.
    """

    ledger: Ledger
    generation: int
    log_key: VerifierKey
    days: int
    before: Range
    opening: int
    going: list[Part] = field(default_factory=list)
    staying: Part | None = None
    covering: Covering | None = None
    why: str = ""
    root: bytes = b""

    @property
    def size(self) -> int:
        """Where the log will be cut."""
        return self.going[-1].end if self.going else self.before.size


def plans(connection: Connection, terms: Terms, witnesses: Sequence[VerifierKey], now: datetime) -> list[Plan]:
    """Every log, and what of it may go.

    Args:
        connection: in a transaction of one snapshot.
        terms: how long records are kept, and whether a witness is needed.
        witnesses: keys of those that are set up.
        now: in UTC.

    Raises:
        Malformed: a row that this engine did not write.
    """
    made = []
    for ledger in LEDGERS:
        for _, generation, key, present in connection.execute(_LOGS, (ledger,)).fetchall():
            cut = connection.execute(_CUT, (ledger, generation)).fetchone()
            before, opening = (Range.from_bytes(cut[0], cut[1]), cut[2]) if cut else (Range(), 0)
            plan = Plan(ledger, generation, VerifierKey.from_text(key), terms.days[ledger], before, opening)
            closed = generation < present
            parts = _parts(connection, plan, closed=closed)
            plan.going = _leading(parts, now)
            _cover(connection, plan, witnesses, allowed=closed or (terms.unwitnessed and not witnesses))
            plan.staying = next((each for each in parts if each not in plan.going), None)
            made.append(plan)
    return made


def _parts(connection: Connection, plan: Plan, *, closed: bool) -> list[Part]:
    found = []
    given = {"ledger": plan.ledger, "generation": plan.generation, "closed": closed}
    for number, first, end, there, begun in connection.execute(_PARTS, given).fetchall():
        if end is None or not there:
            continue
        last = connection.execute(_SEALED.format(plan.ledger), (number,)).fetchone()
        sealed = last[0] if last else begun
        found.append(Part(number, first, end, sealed, sealed + timedelta(days=plan.days)))
    return found


def _leading(parts: Sequence[Part], now: datetime) -> list[Part]:
    going: list[Part] = []
    for each in parts:
        if each.due > now:
            break
        going.append(each)
    while going and going[-1].end == 0:  # empty ones before the first record: nothing to cut
        going.pop()
    return going


def _cover(connection: Connection, plan: Plan, witnesses: Sequence[VerifierKey], *, allowed: bool) -> None:
    """Leave what a signed, and where it has to be a cosigned, checkpoint covers."""
    if not plan.going:
        return
    covering, due = _coverings(connection, plan, witnesses, allowed=allowed), len(plan.going)
    while plan.going:
        fits = [each for each in covering if each.body.size >= plan.size]
        if fits:
            plan.covering = min(fits, key=lambda each: each.body.size)
            break
        plan.going.pop()
    if len(plan.going) < due:
        reach = max((each.body.size for each in covering), default=0)
        plan.why = (
            f"witnesses have cosigned {reach} records so far: look at the publisher and the witness"
            if witnesses
            else "no witness is set up, and the policy says art4.access_log.unwitnessed_deletion: refused"
        )


def _coverings(
    connection: Connection, plan: Plan, witnesses: Sequence[VerifierKey], *, allowed: bool
) -> list[Covering]:
    found = []
    for text in export.notes(connection, plan.ledger, plan.generation):
        try:
            signed = note.parse(text.encode())
            body = checkpoint.verify(signed, plan.log_key)
        except RecordsError:
            continue  # nothing is deleted on its word
        if body.size >= plan.going[0].end and (allowed or any(_cosigned(signed, each) for each in witnesses)):
            found.append(Covering(signed, body))
    return found


def _cosigned(signed: Note, witness: VerifierKey) -> bool:
    try:
        return cosignature.cosigned(signed, witness) > 0
    except (NotProven, RecordsError):
        return False
