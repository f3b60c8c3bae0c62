"""A journal is one chain: no record fits anywhere but after the record it was written after."""

from __future__ import annotations

import pytest

from sensmail.keys import journal
from sensmail.keys.errors import Damaged
from sensmail.keys.journal import HEAD_BYTES, Journal, scan
from sensmail.keys.snapshot import Epoch

EPOCH = Epoch(b"r" * 16, 1, bytes(range(32)))
START = Journal.start(EPOCH, 0, b"snapshot" * 10)


def write(start: Journal, *records: bytes) -> tuple[bytes, list[bytes]]:
    """A journal file, and its frames."""
    at, frames = start, []
    for record in records:
        frames.append(at.frame(record))
        at = at.after(frames[-1])
    return start.head + b"".join(frames), frames


def test_records_come_back_in_order() -> None:
    data, _ = write(START, b"one", b"", b"three")
    found = scan(START, data, "x")
    assert found.records == [b"one", b"", b"three"]
    assert (found.journal.sequence, found.journal.end, found.rest, found.followed) == (3, len(data), 0, False)


def test_a_record_of_the_same_number_cannot_take_the_place_of_another() -> None:
    """Both were written as record 1: the first was taken back after a failure, the second has a successor."""
    _, (taken_back,) = write(START, b"one")
    data, (kept, after) = write(START, b"ONE", b"two")
    assert len(taken_back) == len(kept)
    spliced = START.head + taken_back + after
    assert scan(START, data, "x").records == [b"ONE", b"two"]
    assert scan(START, spliced, "x").records == [b"one"]


def test_records_of_another_snapshot_epoch_or_ring_do_not_fit() -> None:
    _, (frame,) = write(START, b"one")
    others = [
        Journal.start(EPOCH, 0, b"another snapshot" * 5),
        Journal.start(Epoch(EPOCH.ring, 2, EPOCH.key), 0, b"snapshot" * 10),
        Journal.start(Epoch(b"R" * 16, 1, EPOCH.key), 0, b"snapshot" * 10),
        Journal.start(Epoch(EPOCH.ring, 1, bytes(32)), 0, b"snapshot" * 10),
        Journal.start(EPOCH, 1, b"snapshot" * 10),
    ]
    for other in others:
        assert scan(other, other.head + frame, "x").records == []
        if other.head != START.head:
            with pytest.raises(Damaged, match="not the journal"):
                scan(other, START.head + frame, "x")


def test_what_follows_a_bad_record_is_told_from_a_torn_end() -> None:
    data, frames = write(START, b"one", b"two")
    for at in range(journal.HEAD_BYTES + 12, HEAD_BYTES + len(frames[0])):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert (scan(START, bad, "x").records, scan(START, bad, "x").followed) == ([], True)
        assert not scan(START, bad[: -len(frames[1])], "x").followed
