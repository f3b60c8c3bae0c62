"""Fixed-size rows sorted by a 16-byte id: one block of bytes as it lies in the snapshot, plus what changed since.

A million rows load without a Python object for each. A row is found by interpolation, because ids are random and so
spread evenly; ids that are not are found too, only more slowly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from sensmail.keys.material import SUBJECT_BYTES

_LOOK = 8  # bytes of an id that interpolation looks at
_BITS = 8 * _LOOK
_JUMPS = 2  # each leaves about the square root of the distance: of a million rows 500, then 20, then 4
_STEPS = 32  # row by row; ids that are not random need more, and are then found by bisection


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
            if not base:
                return base
            size, start = self.size, self._first(base, subject)
            end = start
            while base.startswith(subject, end):
                end += size
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

    def count(self) -> int:
        """Number of rows."""
        return len(self.encode()) // self.size

    def encode(self) -> bytes:
        """All rows in order, as one block; the changes become part of the block."""
        base, changed = self._view
        if changed:
            base = b"".join(self._merged(base, changed))
            self._view = base, {}
        return base

    def rewrite(self, change: Callable[[bytearray], None]) -> None:
        """Change all rows at once, in place in a copy of the block; ids and number of rows must stay."""
        block = bytearray(self.encode())
        change(block)
        self._view = bytes(block), {}

    def _merged(self, base: bytes, changed: dict[bytes, bytes]) -> Iterator[bytes]:
        """Piece by piece by the first byte of the id, so that readers in other threads get their turn in between."""
        pieces: list[list[bytes]] = [[] for _ in range(256)]
        for subject in changed:
            pieces[subject[0]].append(subject)
        done = 0
        for first, subjects in enumerate(pieces):
            if not subjects:
                continue
            start, end = self._bound(base, first), self._bound(base, first + 1)
            yield base[done:start]
            rows = (base[at : at + self.size] for at in range(start, end, self.size))
            kept = [row for row in rows if row[:SUBJECT_BYTES] not in changed]
            # Rows begin with id and version, so the order of bytes is the order of the block.
            yield b"".join(sorted(kept + [changed[each] for each in subjects]))
            done = end
        yield base[done:]

    def _bound(self, base: bytes, first: int) -> int:
        """Offset of the first row whose id begins with this byte or a higher one."""
        return self._first(base, bytes([first]).ljust(SUBJECT_BYTES, b"\0")) if first < 256 else len(base)

    def _first(self, base: bytes, subject: bytes) -> int:
        """Offset of the first row of a subject, or of where it would be."""
        size, count = self.size, len(base) // self.size
        want = int.from_bytes(subject[:_LOOK])
        start, last = (want * count >> _BITS) * size, max(count - 1, 0) * size
        for _ in range(_JUMPS):
            start += ((want - int.from_bytes(base[start : start + _LOOK])) * count >> _BITS) * size
            if not 0 <= start <= last:
                start = 0 if start < 0 else last
        for _ in range(_STEPS):
            if start < len(base) and base[start : start + SUBJECT_BYTES] < subject:
                start += size
            elif start and base[start - size : start - size + SUBJECT_BYTES] >= subject:
                start -= size
            else:
                return start
        ids = range(0, len(base), size)
        return bisect_left(ids, subject, key=lambda at: base[at : at + SUBJECT_BYTES]) * size
