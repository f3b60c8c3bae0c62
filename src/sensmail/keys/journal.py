"""The journal: every change since the snapshot, one sealed record after the other, each bound to the one before."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag

from sensmail.keys.errors import Damaged
from sensmail.keys.material import NONCE_BYTES, TAG_BYTES
from sensmail.keys.snapshot import Epoch

_MAGIC = b"SMJRNL01"
_HEAD = struct.Struct(f">8s16sQQ{TAG_BYTES}s")
_FRAME = struct.Struct(">QI")
HEAD_BYTES = _HEAD.size


def name(epoch: int) -> str:
    """File name of the journal of an epoch."""
    return f"journal.{epoch}"


@dataclass(frozen=True)
class Journal:
    """Where a journal stands: enough to write the next record, or to read one from here."""

    epoch: Epoch
    head: bytes
    sequence: int  # of the last record
    tag: bytes  # of the last record, or of the snapshot before the first
    end: int = HEAD_BYTES  # bytes

    @classmethod
    def start(cls, epoch: Epoch, sequence: int, snapshot: bytes) -> Journal:
        """The empty journal that follows a snapshot."""
        tag = snapshot[-TAG_BYTES:]
        return cls(epoch, _HEAD.pack(_MAGIC, epoch.ring, epoch.number, sequence, tag), sequence, tag)

    @property
    def name(self) -> str:
        """The file's name."""
        return name(self.epoch.number)

    def frame(self, record: bytes) -> bytes:
        """The bytes to append for one record."""
        length = NONCE_BYTES + len(record) + TAG_BYTES
        frame = _FRAME.pack(self.sequence + 1, length)
        return frame + self.epoch.journal_box.seal(record, self.head + frame + self.tag)

    def after(self, frame: bytes) -> Journal:
        """Where the journal stands once `frame` is written."""
        return Journal(self.epoch, self.head, self.sequence + 1, frame[-TAG_BYTES:], self.end + len(frame))


@dataclass(frozen=True)
class Scan:
    """A journal as read: the records that follow one another unbroken, and where they end."""

    journal: Journal
    records: list[bytes] = field(repr=False)
    last: int  # offset of the last whole record
    rest: int  # bytes after it: a torn record, or damage
    followed: bool  # more follows the first record that does not open, so it was not the last write


def scan(start: Journal, data: bytes | None, where: str) -> Scan:
    """Read as many records as are whole. Whether what follows is a torn write or damage, only other places can tell.

    Raises:
        Damaged: the file is missing or does not begin as the journal of this snapshot.
    """
    if data is None or data[:HEAD_BYTES] != start.head:
        raise Damaged(f"{where}: missing, or not the journal of this snapshot; take this place's files from another")
    journal, records, last, followed = start, [], HEAD_BYTES, False
    while journal.end + _FRAME.size <= len(data):
        body = journal.end + _FRAME.size
        sequence, length = _FRAME.unpack_from(data, journal.end)
        if sequence != journal.sequence + 1 or length < NONCE_BYTES + TAG_BYTES or body + length > len(data):
            break
        bound = journal.head + data[journal.end : body] + journal.tag
        try:
            records.append(start.epoch.journal_box.open(data[body : body + length], bound))
        except InvalidTag:
            followed = body + length < len(data)
            break
        last, journal = journal.end, journal.after(data[journal.end : body + length])
    return Scan(journal, records, last, len(data) - journal.end, followed)
