"""What the publisher reads and keeps in the database, as a role of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from sensmail.records import checkpoint, note
from sensmail.records.checkpoint import Checkpoint
from sensmail.records.entry import Ledger
from sensmail.records.note import Note, VerifierKey
from sensmail.records.publisher.errors import RowsChanged
from sensmail.records.tree import HASH, Range
from sensmail.store import Connection

ROLE = "sensmail-publisher"
_CHUNK = 50_000
_SESSION = "SET statement_timeout = '60s'; SET lock_timeout = '10s'; SET jit = off"
_HEAD: LiteralString = """
    SELECT generation, turn, size, note, log_key FROM records.head JOIN records.log USING (ledger, generation)
    WHERE ledger = %s
"""
_KEPT: LiteralString = """
    SELECT turn, note FROM records.checkpoint WHERE ledger = %s AND generation = %s AND turn >= %s
    ORDER BY turn, size, time
"""
_LAST: LiteralString = """
    SELECT turn, note, range, at FROM records.cosigned WHERE ledger = %s AND generation = %s AND witness = %s
    ORDER BY turn DESC LIMIT 1
"""
_KEEP: LiteralString = """
    INSERT INTO records.cosigned (ledger, generation, witness, turn, size, time, at, range, note)
    VALUES (%(ledger)s, %(generation)s, %(witness)s, %(turn)s, %(size)s, %(time)s, %(at)s, %(range)s, %(note)s)
    ON CONFLICT (ledger, generation, witness, turn) DO UPDATE
    SET size = excluded.size, time = excluded.time, at = excluded.at, range = excluded.range, note = excluded.note
"""
_AHEAD: LiteralString = """
    INSERT INTO records.ahead (ledger, generation, witness, size, note) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_BASE: LiteralString = """
    SELECT size, range FROM (
        SELECT size, range FROM records.cut WHERE ledger = %(ledger)s AND generation = %(generation)s
        UNION ALL SELECT size, range FROM records.cosigned WHERE ledger = %(ledger)s AND generation = %(generation)s
    ) AS known WHERE size <= %(size)s ORDER BY size DESC LIMIT 1
"""


@dataclass(frozen=True)
class Head:
    """A checkpoint of ours, committed: which key signed it, its note and what the note says."""

    turn: int
    note: Note
    body: Checkpoint

    @classmethod
    def read(cls, turn: int, text: str) -> Head:
        """Raises Malformed."""
        found = note.parse(text.encode())
        return cls(turn, found, checkpoint.parse(found.text))


@dataclass(frozen=True)
class Ours:
    """Where a log stands: its newest checkpoint, its generation and its key."""

    ledger: Ledger
    generation: int
    head: Head
    key: VerifierKey


@dataclass(frozen=True)
class Cosigned:
    """What a witness cosigned last, and the tree at that size. `at`: seconds since 1970."""

    head: Head
    range: Range
    at: int


class Database:
    """One session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.execute(_SESSION)

    def ours(self, ledger: Ledger) -> Ours | None:
        """None where nothing was ever sealed. Raises Malformed."""
        found = self._connection.execute(_HEAD, (ledger,)).fetchone()
        if found is None:
            return None
        generation, turn, _, text, log_key = found
        return Ours(ledger, generation, Head.read(turn, text), VerifierKey.from_text(log_key))

    def kept(self, ours: Ours, turn: int) -> list[Head]:
        """The last checkpoint of each key from `turn` on, oldest first. Raises Malformed."""
        rows = self._connection.execute(_KEPT, (ours.ledger, ours.generation, turn))
        return [Head.read(*each) for each in rows.fetchall()]

    def last(self, ours: Ours, witness: str) -> Cosigned | None:
        """Raises Malformed."""
        found = self._connection.execute(_LAST, (ours.ledger, ours.generation, witness)).fetchone()
        if found is None:
            return None
        turn, text, hashes, at = found
        head = Head.read(turn, text)
        return Cosigned(head, Range.from_bytes(head.body.size, hashes), at)

    def keep(self, ours: Ours, witness: str, cosigned: Cosigned) -> None:
        """Durable on return."""
        body = cosigned.head.body
        given = {
            "ledger": ours.ledger, "generation": ours.generation, "witness": witness, "turn": cosigned.head.turn,
            "size": body.size, "time": body.time, "at": cosigned.at, "range": cosigned.range.to_bytes(),
            "note": cosigned.head.note.to_bytes().decode(),
        }  # fmt: skip
        self._connection.execute(_KEEP, given)

    def keep_ahead(self, ours: Ours, witness: str, seen: Note) -> None:
        """What the witness has seen and this database does not hold: the sealer stops at it, an operator cites it."""
        size = checkpoint.parse(seen.text).size
        given = (ours.ledger, ours.generation, witness, size, seen.to_bytes().decode())
        self._connection.execute(_AHEAD, given)

    def leaves(self, ours: Ours, first: int, last: int) -> Iterator[list[bytes]]:
        """Leaf hashes of the records from `first` to `last` - 1, in pieces. Raises RowsChanged: some are gone."""
        for start in range(first, last, _CHUNK):
            end = min(start + _CHUNK, last)
            given = (ours.ledger, ours.generation, start, end)
            query = "SELECT records.leaf_hashes(%s, %s, %s, %s)"
            data = self._connection.cursor(binary=True).execute(query, given).fetchall()[0][0]
            if len(data) != HASH * (end - start):
                raise RowsChanged(
                    f"{ours.ledger}: of the records {start} to {end - 1} there are {len(data) // HASH}. They were "
                    "removed "
                    f"after they were sealed; keep the database as it is and run `sensmail records check`"
                )
            yield [data[at : at + HASH] for at in range(0, len(data), HASH)]

    def range_at(self, ours: Ours, size: int) -> Range:
        """The compact range of the first `size` records. Raises RowsChanged."""
        given = {"ledger": ours.ledger, "generation": ours.generation, "size": size}
        found = self._connection.execute(_BASE, given).fetchone()
        base = Range.from_bytes(*found) if found else Range()
        for each in self.leaves(ours, base.size, size):
            base.extend(each)
        return base
