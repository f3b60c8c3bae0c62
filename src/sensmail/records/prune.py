"""Deletes records whose time is over: in one transaction the cut, what links it, the record of it, and the drop.

What is deleted is compared with what was signed first: a log that was changed is not pruned, for that would be the end
of the evidence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg

from sensmail.ledger import Entry, insert
from sensmail.records import checkpoint, export, note, retention, rows
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.entry import leaf_of
from sensmail.records.errors import NotProven, RecordsError
from sensmail.records.hold import holds_stand
from sensmail.records.note import VerifierKey, encode64
from sensmail.records.outline import Outline
from sensmail.records.prune_plan import Plan, plans
from sensmail.records.tree import Range
from sensmail.store import Connection

ROLE = "sensmail-prune"
ACT = "records.prune"
CHUNK = 20_000
_LOCK_WAIT, _TRIES, _PAUSE_S = "3s", 60, 5.0
_SUBJECTS = "SELECT count(*) FROM accounts.subject"
_MATCHING: LiteralString = """
    SELECT seq FROM records.{} WHERE part = ANY (%s) AND records.is_held(subject_id, account, at) ORDER BY seq
"""
_OPENING: LiteralString = "SELECT coalesce(max(opening), 0) FROM records.{} WHERE part = ANY (%s)"
_NEXT: LiteralString = """
    SELECT part FROM records.part WHERE ledger = %s AND part / 1000000 = %s AND part > %s ORDER BY part
"""
_CUT: LiteralString = """
    INSERT INTO records.cut (ledger, generation, size, range, opening, turn, note, proof)
    SELECT %(ledger)s, %(generation)s, %(size)s, %(range)s, %(opening)s, coalesce((SELECT turn FROM (
        SELECT turn, size, note FROM records.checkpoint UNION ALL SELECT turn, size, note FROM records.cosigned
        UNION ALL SELECT turn, size, note FROM records.head) AS known
        WHERE known.size = %(covered)s AND position(%(text)s IN known.note) = 1 LIMIT 1), 0), %(note)s, %(proof)s
"""
_LINK = "INSERT INTO records.link (ledger, generation, cut, size, proof) VALUES (%s, %s, %s, %s, %s)"
_HELD: LiteralString = """
    INSERT INTO records.held (ledger, generation, seq, subject_id, account, at, entry, salt, cut, proof)
    SELECT %s, %s, %s, r.subject_id, r.account, r.at, convert_from(%s, 'UTF8')::json, r.salt, %s, %s
    FROM records.{} AS r WHERE r.part = ANY (%s) AND r.seq = %s
"""
_RELEASED = "DELETE FROM records.held WHERE NOT records.is_held(subject_id, account, at)"
_RELEASED_COUNT = "SELECT count(*) FROM records.held WHERE NOT records.is_held(subject_id, account, at)"


@dataclass(frozen=True)
class Pruned:
    """What went, or would: a plan a log; how many were kept aside; how many aside are under no hold any more."""

    plans: list[Plan]
    held: int
    released: int

    @property
    def changed(self) -> bool:
        return self.released > 0 or any(each.going for each in self.plans)


def look(connection: Connection, witnesses: Sequence[VerifierKey], now: datetime) -> Pruned:
    """What `prune` would do, and why; changes nothing."""
    with _snapshot(connection):
        connection.execute("SET TRANSACTION READ ONLY")
        found = _planned(connection, witnesses, now)
        held = sum(len(_matching(connection, each)) for each in found if each.going)
        return Pruned(found, held, int(connection.execute(_RELEASED_COUNT).fetchall()[0][0]))


def prune(
    connection: Connection, witnesses: Sequence[VerifierKey], now: datetime, account: str, unit: str = ""
) -> Pruned:
    """Delete what may go; all of it or nothing.

    Args:
        connection: a session as ROLE on the primary, in autocommit mode.
        witnesses: keys of those that are set up.
        now: in UTC.
        account: who does it; stands in the record.
        unit: by which systemd unit; the same.

    Raises:
        NotProven: the records are not what was signed; nothing is deleted, somebody has to look.
        RecordsError: the tables stayed in use; try again. psycopg.Error.
    """
    with holds_stand(connection), _snapshot(connection):  # in this order: a hold that was placed meanwhile is seen
        found, held = _planned(connection, witnesses, now), 0
        going = [each for each in found if each.going]
        for each in going:
            held += _cut(connection, each)
            insert(connection, [_record(each, account, unit)])
        released = connection.execute(_RELEASED).rowcount
        _drop(connection, going)  # last: nobody reads or seals from here to the commit
        return Pruned(found, held, released)


def _planned(connection: Connection, witnesses: Sequence[VerifierKey], now: datetime) -> list[Plan]:
    subjects = int(connection.execute(_SUBJECTS).fetchall()[0][0])
    return plans(connection, retention.load(subjects), witnesses, now)


def _cut(connection: Connection, plan: Plan) -> int:
    """Everything that will be needed when the records are gone; returns how many were kept aside."""
    if plan.covering is None:
        raise RecordsError("a plan without a checkpoint that covers it")
    covering, size = plan.covering, plan.size
    known = [each for each in _checkpoints(connection, plan) if plan.before.size < each.size <= covering.body.size]
    linked = sorted({each.size for each in known if each.size < size} | ({plan.before.size} - {0, size}))
    matching = _matching(connection, plan)
    outline = Outline(plan.before, [*linked, *matching, size, covering.body.size])
    at_cut, lines = _grown(connection, plan, outline, known, set(matching))
    given = {
        "ledger": plan.ledger, "generation": plan.generation, "size": size, "range": at_cut.to_bytes(),
        "opening": max(plan.opening, _opening(connection, plan)), "covered": covering.body.size,
        "text": covering.note.text, "note": covering.note.to_bytes().decode(),
        "proof": b"".join(outline.consistency(size, covering.body.size)),
    }  # fmt: skip
    here = (plan.ledger, plan.generation)
    if size > plan.before.size:
        connection.execute(_CUT, given)
        with connection.cursor() as cursor:
            cursor.executemany(
                _LINK, [(*here, size, each, b"".join(outline.consistency(each, size))) for each in linked]
            )
    numbers, query = _numbers(plan), _HELD.format(plan.ledger)
    for each in matching:
        proof = b"".join(outline.inclusion(each, covering.body.size))
        connection.execute(query, (*here, each, lines[each], size, proof, numbers, each))
    plan.root = at_cut.root()
    return len(matching)


def _grown(
    connection: Connection, plan: Plan, outline: Outline, known: list[Checkpoint], keep: set[int]
) -> tuple[Range, dict[int, bytes]]:
    """Reads from the last cut to the covering checkpoint; the range at the cut, and the lines to keep.

    Raises:
        NotProven: a record is gone, or a root is not the one that was signed.
    """
    end = plan.covering.body.size if plan.covering else 0
    grown, at_cut = plan.before.copy(), plan.before.copy()
    lines: dict[int, bytes] = {}
    stops = sorted({plan.size, end, *(each.size for each in known)})
    following = connection.execute(_NEXT, (plan.ledger, plan.generation, plan.going[-1].number)).fetchall()
    for part in [*_numbers(plan), *(number for (number,) in following)]:
        for found in rows.runs(connection, plan.ledger, part, CHUNK) if grown.size < end else ():
            start = grown.size
            if found.numbers != list(range(start, start + len(found.numbers))):
                raise NotProven(f"{plan.ledger}: record {start} is not where it belongs, in partition {part}; {_LOOK}")
            lines |= {n: line for n, line in zip(found.numbers, found.lines, strict=True) if n in keep}
            leaves = list(map(leaf_of, found.lines, found.salts))[: end - start]
            outline.extend(leaves)
            for stop in (each for each in stops if start < each <= start + len(leaves)):
                grown.extend(leaves[grown.size - start : stop - start])
                at_cut = grown.copy() if stop == plan.size else at_cut
                _compare(plan, grown, known)
            grown.extend(leaves[grown.size - start :])
            if grown.size == end:
                break
    if grown.size != end:
        raise NotProven(f"{plan.ledger}: records from {grown.size} to {end - 1} are gone; {_LOOK}")
    return at_cut, lines


_LOOK = "nothing was deleted: run `sensmail records check`, and export the ledger before anything else"


def _compare(plan: Plan, grown: Range, known: list[Checkpoint]) -> None:
    root = grown.root()
    if any(each.size == grown.size and each.root != root for each in known):
        raise NotProven(f"{plan.ledger}: the records below {grown.size} are not what was sealed; {_LOOK}")


def _checkpoints(connection: Connection, plan: Plan) -> list[Checkpoint]:
    """Every kept one of this log. Raises NotProven where one is not the log's."""
    texts = export.notes(connection, plan.ledger, plan.generation)
    return [checkpoint.verify(note.parse(text.encode()), plan.log_key) for text in texts]


def _record(plan: Plan, account: str, unit: str) -> Entry:
    detail: dict[str, str | int] = {
        "ledger": plan.ledger, "generation": plan.generation, "first": plan.before.size,
        "count": plan.size - plan.before.size, "size": plan.size, "root": encode64(plan.root), "days": plan.days,
        "sealed": rows.microseconds(plan.going[-1].sealed),
    }  # fmt: skip
    return Entry("governance", ACT, account, unit=unit, detail=detail)


def _drop(connection: Connection, going: Sequence[Plan]) -> None:
    """A partition goes when nobody reads the ledger; who waits for that must not make the sealer wait for long."""
    for _ in range(_TRIES):
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_WAIT,))
                for plan in going:
                    for part in plan.going:
                        connection.execute("SELECT records.drop_part(%s, %s)", (plan.ledger, part.number))
            return
        except psycopg.errors.LockNotAvailable:
            time.sleep(_PAUSE_S)
    raise RecordsError("the ledgers stayed in use, by a long export or search; nothing was deleted: try again later")


def _matching(connection: Connection, plan: Plan) -> list[int]:
    return [seq for (seq,) in connection.execute(_MATCHING.format(plan.ledger), (_numbers(plan),)).fetchall()]


def _opening(connection: Connection, plan: Plan) -> int:
    return int(connection.execute(_OPENING.format(plan.ledger), (_numbers(plan),)).fetchall()[0][0])


def _numbers(plan: Plan) -> list[int]:
    return [each.number for each in plan.going]


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SET LOCAL synchronous_commit = on; SET LOCAL jit = off")
        yield
