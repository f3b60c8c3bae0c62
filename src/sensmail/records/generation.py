"""A new generation of a log, after a lawful restore: it says what was lost before anything else is sealed.

The sealer stops where the database is older than its keys or than what a witness has seen. What is there stays as it
was signed; the next generation is a log of its own, whose first record cites the one before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

from sensmail.records import canonical, checkpoint, note, rows
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.entry import LEDGERS, SALT, Ledger, leaf_of
from sensmail.records.errors import Busy, KeysUnusable, RecordsError
from sensmail.records.note import VerifierKey, encode64
from sensmail.records.sealer import LOCK, PARTS
from sensmail.records.signing import KeyFile, stable_key
from sensmail.records.tree import Range
from sensmail.store import Connection

ACT = "records.generation"
_HEAD = "SELECT generation, size, sealed, turn, note FROM records.head WHERE ledger = %s"
_AHEAD: LiteralString = """
    SELECT size, note FROM records.ahead WHERE ledger = %s AND generation = %s
    UNION ALL SELECT size, note FROM records.cosigned WHERE ledger = %s AND generation = %s
    ORDER BY size DESC LIMIT 1
"""
_KEEP: LiteralString = """
    INSERT INTO records.checkpoint (ledger, generation, turn, size, time, note) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LOG = "INSERT INTO records.log (ledger, generation, origin, log_key) VALUES (%s, %s, %s, %s)"
_FIRST: LiteralString = """
    INSERT INTO records.{} (part, seq, at, received, sealed, clock, act, account, origin, client, purpose,
        outcome, unit, detail, salt)
    VALUES (%(part)s, 0, %(now)s, %(now)s, %(now)s, '', %(act)s, %(account)s, '', '', '', 'done', '', %(detail)s::json,
        %(salt)s)
"""
_MOVE: LiteralString = """
    UPDATE records.head SET generation = %(generation)s, size = 1, range = %(range)s, sealed = %(sealed)s,
        part = %(part)s, turn = 0, note = %(note)s
    WHERE ledger = %(ledger)s AND generation = %(generation)s - 1 AND note = %(old)s
"""


@dataclass(frozen=True)
class Loss:
    """What a restore lost of one log.

    Attributes:
        held: records that the database holds.
        known: how many there were, as the keys or a witness know. root: of that tree, where a witness has shown it.
    """

    ledger: Ledger
    generation: int
    held: int
    known: int
    root: str = ""

    @property
    def lost(self) -> int:
        return self.known - self.held


@dataclass(frozen=True)
class Order:
    """Who opens it, why, and who approved."""

    account: str
    reason: str
    approver: str


def losses(connection: Connection, directory: Path) -> list[Loss]:
    """What is known to be lost, a log each; only those that need a new generation.

    Raises:
        Malformed: a row that this engine did not write. OSError.
    """
    found = []
    for ledger in LEDGERS:
        head = connection.execute(_HEAD, (ledger,)).fetchone()
        if head is None:
            continue
        generation, held = int(head[0]), int(head[1])
        known, root = _known(connection, KeyFile(directory, ledger), ledger, generation, held)
        if known > held or not _usable(KeyFile(directory, ledger), generation, str(head[4])):
            found.append(Loss(ledger, generation, held, known, root))
    return found


def open_next(
    connection: Connection,
    directory: Path,
    order: Order,
    clock: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> list[Loss]:
    """Open the next generation of every log that needs one. The sealer must have stopped.

    Args:
        connection: a session as the sealer's role, in autocommit mode.
        directory: of the signing keys.
        order: all of it stands in the first record.
        clock: microseconds since 1970.

    Raises:
        Busy: a sealer is at work. RecordsError: no reason or approver, or nothing was lost. psycopg.Error, OSError.
    """
    if not (order.reason.strip() and order.approver.strip() and order.account.strip()):
        raise RecordsError("a new generation needs a reason, an approver and a name: they stand in its first record")
    if not connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchall()[0][0]:
        raise Busy(
            "the sealer is at work: where it goes on by itself nothing was lost; else stop sensmail-sealer first"
        )
    try:
        found = losses(connection, directory)
        if not found:
            raise RecordsError("nothing is known to be lost: the sealer can go on as it is")
        private = stable_key(directory, make=True)
        for loss in found:
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = on")
                _open(connection, directory, private, loss, order, clock())
        return found
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


def _open(connection: Connection, directory: Path, private: Any, loss: Loss, order: Order, now: int) -> None:
    ledger, generation = loss.ledger, loss.generation + 1
    _, size, sealed, turn, text = connection.execute(_HEAD, (ledger,)).fetchall()[0]
    old = checkpoint.parse(note.parse(text.encode()).text)
    connection.execute(_KEEP, (ledger, loss.generation, turn, size, old.time, text))  # where the log before ends
    first, following = KeyFile(directory, ledger).begin(generation)
    origin = Origin.of(Origin.from_text(old.origin).log, ledger, generation, first.public).to_text()
    log_key = VerifierKey(origin, note.public_bytes(private)).to_text()
    connection.execute(_LOG, (ledger, generation, origin, log_key))
    now = max(now, rows.microseconds(sealed))
    month = rows.moment(now)
    part = PARTS * generation + 100 * month.year + month.month
    connection.execute("SELECT records.make_part(%s, %s, 0)", (ledger, part))
    detail = {
        "approver": order.approver, "generation": generation, "lost": loss.lost, "reason": order.reason,
        "size": loss.known,
    } | ({"root": loss.root} if loss.root else {})  # fmt: skip
    line = {"part": part, "now": month, "act": ACT, "account": order.account, "salt": os.urandom(SALT)}
    connection.execute(_FIRST.format(ledger), line | {"detail": _canonical(detail)})
    kept = rows.kept(connection, ledger, part, 0, 1)
    grown = Range()
    grown.append(leaf_of(kept.lines[0], kept.salts[0]))
    body = Checkpoint(origin, 1, grown.root(), now // 1_000_000, first.public, following.public)
    signed = body.sign(private, first.private).to_bytes().decode()
    given = {
        "ledger": ledger, "generation": generation, "range": grown.to_bytes(), "sealed": month, "part": part,
        "note": signed, "old": text,
    }  # fmt: skip
    if connection.execute(_MOVE, given).rowcount != 1:
        raise RecordsError(f"records.head of {ledger} was changed meanwhile; look for who did")


def _known(connection: Connection, file: KeyFile, ledger: Ledger, generation: int, held: int) -> tuple[int, str]:
    """The largest size that anybody knows of, and the root where a note says it."""
    mark = file.mark() if file.path.exists() else None
    known, root = (mark[1] if mark and mark[0] == generation else held), ""
    shown = connection.execute(_AHEAD, (ledger, generation) * 2).fetchone()
    if shown and shown[0] >= max(known, held):
        body = checkpoint.parse(note.parse(shown[1].encode()).text)
        known, root = body.size, encode64(body.root)
    return max(known, held), root


def _usable(file: KeyFile, generation: int, text: str) -> bool:
    """Whether the key that the head endorses is there: without it nothing can be sealed, lost or not."""
    body = checkpoint.parse(note.parse(text.encode()).text)
    try:
        return file.holds(generation, body.next)
    except KeysUnusable:
        return False


def _canonical(detail: dict[str, Any]) -> str:
    return canonical.encode(detail).decode()
