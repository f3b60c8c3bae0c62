"""Recomputes a log from the live tables, from its cut to its head, and follows its chain of keys.

What it finds is every way in which the rows differ from what was signed; it says where, as narrowly as the kept
checkpoints allow. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import LiteralString

from sensmail.records import checkpoint, note, rows
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.entry import Ledger, leaf_of
from sensmail.records.errors import RecordsError
from sensmail.records.note import VerifierKey
from sensmail.records.tree import Range
from sensmail.store import Connection

CHUNK = 20_000
_LOG = "SELECT log_key FROM records.log WHERE ledger = %s AND generation = %s"
_HEAD = "SELECT generation, size, range, note FROM records.head WHERE ledger = %s"
_NOTES: LiteralString = """
    SELECT turn, size, note FROM records.checkpoint WHERE ledger = %s AND generation = %s ORDER BY size, turn, time
"""
_CUT: LiteralString = """
    SELECT size, range FROM records.cut WHERE ledger = %s AND generation = %s ORDER BY size DESC LIMIT 1
"""
_PARTS_OF: LiteralString = """
    SELECT p.part, p.first, coalesce(lead(p.first) OVER (ORDER BY p.part), %s),
        to_regclass(format('records.%%I', format('%%s_%%s', p.ledger, p.part))) IS NOT NULL
    FROM records.part AS p WHERE p.ledger = %s AND p.part / 1000000 = %s ORDER BY p.part
"""
_STRAY = "SELECT part, seq FROM records.{} WHERE part / 1000000 = %s AND part <> ALL (%s) LIMIT 1"


@dataclass
class Checked:
    """What a look at one log found.

    Attributes:
        first: the first number whose record is there; records before it were pruned.
        size: of the log, as its newest checkpoint says. time: of that checkpoint, seconds since 1970.
        checkpoints: how many were compared.
        findings: what is wrong, a sentence each; none where everything is as it was signed.
    """

    ledger: Ledger
    generation: int = 0
    first: int = 0
    size: int = 0
    time: int = 0
    checkpoints: int = 0
    findings: list[str] = field(default_factory=list)


def check(connect: Callable[[], Connection], ledger: Ledger, log_key: VerifierKey | None = None) -> Checked:
    """Recompute one ledger's present log.

    Args:
        connect: opens a session that may read the ledgers.
        ledger: which.
        log_key: what the auditor holds; without it the database's own copy, which proves nothing against who can
            change that as well.
    """
    result = Checked(ledger)
    with connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        head = connection.execute(_HEAD, (ledger,)).fetchone()
        if head is None:
            result.findings.append("there is no log: nothing was ever sealed, or its head was removed")
            return result
        result.generation, size, hashes, newest = head
        chain = _chain(connection, result, newest, log_key)
        if not chain:
            return result
        result.size, result.time = chain[-1].size, chain[-1].time
        _require(result, size == result.size, f"records.head says size {size}, its checkpoint {result.size}")
        grown = _recompute(connection, result, chain)
        if grown is not None:
            same = grown.to_bytes() == hashes
            _require(result, same, "records.head: the compact range is not that of the records")
    return result


def _chain(connection: Connection, result: Checked, newest: str, log_key: VerifierKey | None) -> list[Checkpoint]:
    """Every kept checkpoint in order, as far as signatures and keys hold."""
    here = (result.ledger, result.generation)
    try:
        if log_key is None:
            found = connection.execute(_LOG, here).fetchone()
            log_key = VerifierKey.from_text(found[0] if found else "")
        notes = [(f"size {size}, turn {turn}", text) for turn, size, text in connection.execute(_NOTES, here)]
    except RecordsError as error:
        result.findings.append(f"records.log: {error}")
        return []
    chain: list[Checkpoint] = []
    for where, text in [*notes, ("the head", newest)]:
        try:
            body = checkpoint.verify(note.parse(text.encode()), log_key)
            checkpoint.follow(chain[-1], body) if chain else checkpoint.begin(body)
        except RecordsError as error:
            result.findings.append(f"checkpoint of {where}: {error}")
            return []
        chain.append(body)
    return chain


def _recompute(connection: Connection, result: Checked, chain: list[Checkpoint]) -> Range | None:
    """Leaves from the rows, compared at every checkpoint; None where they end before the head."""
    cut = connection.execute(_CUT, (result.ledger, result.generation)).fetchone()
    grown = Range.from_bytes(*cut) if cut else Range()
    result.first = grown.size
    due = [each for each in chain if each.size >= grown.size]
    good = grown.size
    try:
        for start, leaves in _leaves(connection, result, grown.size):
            if start != grown.size:
                raise RecordsError(f"record {grown.size} is gone")
            while due and due[0].size <= grown.size + len(leaves):
                take = due[0].size - grown.size
                grown.extend(leaves[:take])
                leaves = leaves[take:]
                good = _compare(result, grown, due.pop(0), good)
            if leaves and not due:
                raise RecordsError(f"record {grown.size} is beyond the head: it was put in")
            grown.extend(leaves)
        while due and due[0].size == grown.size:
            good = _compare(result, grown, due.pop(0), good)
    except RecordsError as error:
        result.findings.append(str(error))
        return None
    if due:
        result.findings.append(f"records from {grown.size} to {due[-1].size - 1} are gone")
        return None
    return grown


def _compare(result: Checked, grown: Range, body: Checkpoint, good: int) -> int:
    result.checkpoints += 1
    if grown.root() != body.root:
        raise RecordsError(
            f"records from {good} to {body.size - 1}: at least one is not what was sealed; the root at size "
            f"{body.size} is another than the checkpoint's"
        )
    return grown.size


def _leaves(connection: Connection, result: Checked, first: int) -> Iterator[tuple[int, list[bytes]]]:
    """Leaf hashes of dense runs, and the number of the first of each; the next chunk is read meanwhile."""
    given = (result.size, result.ledger, result.generation)
    parts = [each for each in connection.execute(_PARTS_OF, given).fetchall() if each[2] > first or each[3]]
    numbers = [each[0] for each in parts]
    stray = connection.execute(_STRAY.format(result.ledger), (result.generation, numbers)).fetchone()
    if stray:
        raise RecordsError(f"record {stray[1]} lies in partition {stray[0]}, which records.part does not know")
    for part, begins, ends, there in parts:
        if not there:
            if ends > first:
                raise RecordsError(f"records from {max(begins, first)} to {ends - 1} are gone: so is partition {part}")
            continue
        at = max(begins, first)
        for found in rows.runs(connection, result.ledger, part, CHUNK):
            expected = range(at, at + len(found.numbers))
            if found.numbers != list(expected):
                wrong = next((a, b) for a, b in zip(found.numbers, expected, strict=True) if a != b)
                raise RecordsError(_misplaced(part, *wrong))
            yield at, list(map(leaf_of, found.lines, found.salts))
            at = expected.stop
        if at > ends:
            raise RecordsError(f"partition {part}: records from {ends} on do not belong there")
        if at < ends:
            raise RecordsError(f"records from {at} to {ends - 1} are gone from partition {part}")


def _misplaced(part: int, found: int, expected: int) -> str:
    if found > expected:
        return f"record {expected} is gone: record {found} follows in partition {part}"
    return f"record {found} stands a second time, or in the wrong partition ({part})"


def _require(result: Checked, holds: bool, finding: str) -> None:
    if not holds:
        result.findings.append(finding)
