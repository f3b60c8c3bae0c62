"""Fixed-size rows sorted by a 16-byte id: one block of bytes as it lies in the snapshot, plus what changed since.

A million rows load without a Python object for each, are found by bisection, and are merged by copying slices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from sensmail.keys.material import SUBJECT_BYTES


class SortedRows:
    """Rows of `size` bytes that begin with a subject id; a subject may have several, kept together in order."""

    def __init__(self, size: int, base: bytes = b"") -> None:
        self.size = size
        # One attribute, so that a reader in another thread never sees a block without its changes.
        self._view: tuple[bytes, dict[bytes, bytes]] = (base, {})

    def get(self, subject: bytes) -> bytes:
        """All rows of one subject, concatenated; empty when there are none."""
        base, changed = self._view
        rows = changed.get(subject)
        if rows is None:
            start, end = self._range(base, subject)
            return base[start:end]
        return rows

    def put(self, subject: bytes, rows: bytes) -> None:
        """Replace all rows of one subject; empty removes them."""
        self._view[1][subject] = rows

    def subjects(self) -> Iterator[bytes]:
        """Every subject that has a row, in order."""
        block, last = self.encode(), b""
        for start in range(0, len(block), self.size):
            subject = block[start : start + SUBJECT_BYTES]
            if subject != last:
                yield subject
            last = subject

    def encode(self) -> bytes:
        """All rows in order, as one block; the changes become part of the block."""
        base, changed = self._view
        if changed:
            parts, done = [], 0
            for subject in sorted(changed):
                start, end = self._range(base, subject, done)
                if start > done:
                    parts.append(base[done:start])
                parts.append(changed[subject])
                done = end
            base = b"".join([*parts, base[done:]])
            self._view = base, {}
        return base

    def _range(self, base: bytes, subject: bytes, after: int = 0) -> tuple[int, int]:
        """Where the rows of a subject are, or would be, between byte `after` and the end."""
        size = self.size
        count = len(base) // size

        def id_at(index: int) -> bytes:
            return base[index * size : index * size + SUBJECT_BYTES]

        first = end = bisect_left(range(count), subject, lo=after // size, key=id_at)
        while end < count and id_at(end) == subject:
            end += 1
        return first * size, end * size
