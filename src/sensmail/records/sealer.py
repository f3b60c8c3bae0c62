"""Seals records: numbers, salts and hashes what waits in the inbox, signs the new heads, and commits all of it at once.

A `Sealer` lives as long as its session. After any error it is thrown away and the next one starts from what the
database holds, as after a crash.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records import checkpoint, note, rows
from sensmail.records.checkpoint import Checkpoint, Origin
from sensmail.records.entry import LEDGERS, Ledger, leaf_of
from sensmail.records.errors import Busy, DatabaseOlder, HeadChanged, KeysUnusable, RecordsError, Standby
from sensmail.records.note import VerifierKey
from sensmail.records.signing import KeyFile, Turn, stable_key
from sensmail.records.tree import Range
from sensmail.store import Connection

LOG = logging.getLogger(__name__)
ROLE = "sensmail-sealer"
BATCH = 20_000  # records in one transaction
KEY_LIFE_S = 3600.0
IDLE_S = 10.0  # a checkpoint at least this often, so that its time says as of when the log is complete
LOCK = 0x7365616C6572  # "sealer"
PARTS = 1_000_000  # part = this * generation + yyyymm
# Whatever the server's or the role's default; no statement holds the inbox up for long.
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '60s'; SET lock_timeout = '10s'; SET jit = off"
_STATE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"
_HEAD = "SELECT generation, size, range, sealed, part, turn, note FROM records.head WHERE ledger = %s"
_GENERATION = "SELECT coalesce(max(generation), 0) FROM records.log WHERE ledger = %s"
_AHEAD: LiteralString = """
    SELECT ledger::text, witness, a.size FROM records.ahead AS a JOIN records.head USING (ledger, generation) LIMIT 1
"""
_NEW_LOG = "INSERT INTO records.log (ledger, generation, origin, log_key) VALUES (%s, %s, %s, %s)"
_NEW_HEAD: LiteralString = """
    INSERT INTO records.head (ledger, generation, size, range, sealed, part, turn, note)
    VALUES (%(ledger)s, %(generation)s, %(size)s, %(range)s, %(sealed)s, %(part)s, %(turn)s, %(note)s)
"""
_MOVE_HEAD: LiteralString = """
    UPDATE records.head SET size = %(size)s, range = %(range)s, sealed = %(sealed)s, part = %(part)s, turn = %(turn)s,
        note = %(note)s
    WHERE ledger = %(ledger)s AND generation = %(generation)s AND size = %(old_size)s AND note = %(old_note)s
"""
_KEEP = "INSERT INTO records.checkpoint (ledger, generation, turn, size, time, note) VALUES (%s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True)
class _Head:
    """Where a ledger stands, as it is in the database. `sealed`: microseconds."""

    ledger: Ledger
    generation: int
    range: Range
    sealed: int
    part: int
    turn: int
    note: str
    body: Checkpoint


@dataclass
class _Log:
    """A ledger at work: its head, the key in use, and the key that is next."""

    head: _Head | None
    generation: int
    file: KeyFile
    current: Turn
    following: Turn
    fresh: bool = True  # the key in use has signed nothing durable yet
    since: float = 0.0
    signed: float = 0.0

    @property
    def size(self) -> int:
        return self.head.range.size if self.head else 0


class Sealer:
    """Start it, then `seal` again and again.

    Args:
        connection: a session as ROLE on the primary, in autocommit mode; nobody else uses it.
        directory: of the signing keys.
        name: of the log, as it stands in the origin, such as mail.example.go.kr/records.
        clock: microseconds since 1970.
    """

    def __init__(
        self,
        connection: Connection,
        directory: Path,
        name: str,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._connection, self._directory, self._name, self._clock = connection, directory, name, clock
        self._stable: Ed25519PrivateKey | None = None
        self._logs: dict[Ledger, _Log] = {}

    def start(self) -> None:
        """Take the lock, take up the next key of each log or begin the log, and sign with it.

        Raises:
            Busy, Standby: try again later.
            DatabaseOlder, KeysUnusable, HeadChanged: an operator has to act.
            psycopg.Error, OSError.
        """
        self._connection.execute(_SESSION)
        standby, read_only = self._connection.execute(_STATE).fetchall()[0]
        if standby or read_only:
            raise Standby(
                f"the database is {'a standby' if standby else 'read-only'}; records are sealed on the primary"
            )
        if not self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchall()[0][0]:
            raise Busy("another sealer holds the lock; one works at a time")
        heads = {ledger: self._head(ledger) for ledger in LEDGERS}
        self._stable = stable_key(self._directory, make=not any(heads.values()))
        for ledger, head in heads.items():
            self._logs[ledger] = self._begin(ledger) if head is None else self._resume(head)
        self.seal()

    def seal(self, limit: int = BATCH) -> int:
        """One batch, if anything waits or a checkpoint is due; durable on return. Returns how many records there were.

        Raises:
            HeadChanged: nothing was committed. Unfit, psycopg.Error, OSError: see there; throw this sealer away.
        """
        for log in self._logs.values():
            if not log.fresh and time.monotonic() - log.since >= KEY_LIFE_S:
                log.current, log.following = log.following, log.file.succeed(log.following)
                log.fresh = True
        try:
            with self._connection.transaction():
                self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                count, made = self._batch(limit)
        except psycopg.errors.SerializationFailure as error:
            raise HeadChanged(f"somebody else changes the head or takes records out of the inbox: {error}") from error
        for head in made:
            self._settle(head)
        return count

    def heads(self) -> dict[Ledger, int]:
        """The size of each log."""
        return {ledger: log.size for ledger, log in self._logs.items()}

    def _batch(self, limit: int) -> tuple[int, list[_Head]]:
        now = max([self._clock(), *(log.head.sealed for log in self._logs.values() if log.head)])
        self._require_newest()
        last, count, made = rows.last_waiting(self._connection, limit), 0, []
        for ledger, log in self._logs.items():
            batch = rows.waiting(self._connection, ledger, last, log.size, now)
            if batch.lines or log.fresh or time.monotonic() - log.signed >= IDLE_S:
                made.append(self._append(log, batch))
                count += len(batch.lines)
        return count, made

    def _require_newest(self) -> None:
        """A witness that has seen more, or other records, than this database holds ends the log."""
        if found := self._connection.execute(_AHEAD).fetchone():
            ledger, witness, size = found
            raise DatabaseOlder(
                f"{ledger}: witness {witness.partition('+')[0]} has cosigned a checkpoint of {size} records that this "
                f"database does not hold. Bring the lost records back, or open a new generation: `sensmail records "
                f"generation open`"
            )

    def _append(self, log: _Log, batch: rows.Waiting) -> _Head:
        old, grown = log.head, log.head.range.copy() if log.head else Range()
        now, lines, ledger = batch.sealed, batch.lines, batch.ledger
        part = self._part(ledger, log, now)
        if lines:
            salts = rows.new_salts(len(lines))
            grown.extend(list(map(leaf_of, lines, salts)))
            moved = rows.move(self._connection, batch, part, salts)
            if moved != len(lines):
                raise HeadChanged(f"records.inbox gave {moved} of {len(lines)} records: somebody meddles with it")
        origin = old.body.origin if old else self._origin(ledger, log)
        body = Checkpoint(origin, grown.size, grown.root(), now // 1_000_000, log.current.public, log.following.public)
        if self._stable is None:
            raise RecordsError("the sealer was not started")
        signed = body.sign(self._stable, log.current.private).to_bytes().decode()
        head = _Head(ledger, log.generation, grown, now, part, log.current.number, signed, body)
        self._write(old, head)
        return head

    def _write(self, old: _Head | None, head: _Head) -> None:
        given: dict[str, Any] = {
            "ledger": head.ledger, "generation": head.generation, "size": head.range.size,
            "range": head.range.to_bytes(), "sealed": rows.moment(head.sealed), "part": head.part, "turn": head.turn,
            "note": head.note,
        }  # fmt: skip
        if old is None:
            log_key = VerifierKey(head.body.origin, note.public_bytes(self._stable)).to_text() if self._stable else ""
            self._connection.execute(_NEW_LOG, (head.ledger, head.generation, head.body.origin, log_key))
            self._connection.execute(_NEW_HEAD, given)
            return
        given |= {"old_size": old.range.size, "old_note": old.note}
        if self._connection.execute(_MOVE_HEAD, given).rowcount != 1:
            raise HeadChanged(f"records.head of {head.ledger} is not as this sealer left it; look for who changed it")
        if old.turn != head.turn:
            last = (old.ledger, old.generation, old.turn, old.range.size, old.body.time, old.note)
            self._connection.execute(_KEEP, last)

    def _part(self, ledger: Ledger, log: _Log, now: int) -> int:
        """The partition of this month, made where there is none."""
        month = rows.moment(now)
        part = PARTS * log.generation + 100 * month.year + month.month
        if log.head is None or log.head.part < part:
            self._connection.execute("SELECT records.make_part(%s, %s, %s)", (ledger, part, log.size))
            return part
        return log.head.part

    def _settle(self, head: _Head) -> None:
        """After the commit: what was signed by it is the state; a key that is in use leaves the disk."""
        log, now = self._logs[head.ledger], time.monotonic()
        log.head, log.signed = head, now
        if log.fresh:
            log.file.forget(log.current)
            log.fresh, log.since = False, now
        log.file.set_mark(head.generation, head.range.size)

    def _head(self, ledger: Ledger) -> _Head | None:
        found = self._connection.execute(_HEAD, (ledger,)).fetchone()
        if found is None:
            return None
        generation, size, hashes, sealed, part, turn, text = found
        body = checkpoint.parse(note.parse(text.encode()).text)
        return _Head(
            ledger, generation, Range.from_bytes(size, hashes), rows.microseconds(sealed), part, turn, text, body
        )

    def _begin(self, ledger: Ledger) -> _Log:
        (generation,) = self._connection.execute(_GENERATION, (ledger,)).fetchall()[0]
        file = KeyFile(self._directory, ledger)
        first, following = file.begin(generation + 1)
        LOG.info("%s: begins generation %s", ledger, generation + 1)
        return _Log(None, generation + 1, file, first, following)

    def _resume(self, head: _Head) -> _Log:
        """Only a head that our own stable key signed, and whose range gives the root that was signed."""
        try:
            signed = note.parse(head.note.encode())
            checkpoint.verify(signed, VerifierKey(head.body.origin, note.public_bytes(self._known())))
        except RecordsError as error:
            raise HeadChanged(f"records.head of {head.ledger} is not what this host signed: {error}") from error
        if (head.range.size, head.range.root()) != (head.body.size, head.body.root):
            raise HeadChanged(f"records.head of {head.ledger}: its range is not that of its checkpoint")
        file = KeyFile(self._directory, head.ledger)
        current, following = file.take_up(head.generation, head.body.next, head.range.size)
        return _Log(head, head.generation, file, current, following)

    def _known(self) -> Ed25519PrivateKey:
        if self._stable is None:
            raise KeysUnusable("the sealer was not started")
        return self._stable

    def _origin(self, ledger: Ledger, log: _Log) -> str:
        return Origin.of(self._name, ledger, log.generation, log.current.public).to_text()
