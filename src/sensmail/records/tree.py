"""The Merkle tree of a log: hashes and the compact range that grows. Source: RFC 6962 section 2.1, SHA-256.

A compact range of size n is the hashes of the perfect subtrees that n splits into, the largest first: one for each bit
that is set in n. It is all that is needed to append, and to know the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from sensmail.records.errors import Malformed

HASH = 32  # bytes
MAX_SIZE = 2**63 - 1  # leaves; a bigint of the database
EMPTY_ROOT = sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """Of one leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of the node above two."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes that stand side by side, at least one."""
    level = list(hashes)
    while len(level) > 1:
        odd = level[len(level) & ~1 :]
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)] + odd
    return level[0]


def perfect_parts(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split [start, end) into the largest subtrees whose start is a multiple of their size, from left to right."""
    while start < end:
        size = start & -start if start else 1 << (end - start).bit_length() - 1
        while size > end - start:
            size >>= 1
        yield start, start + size
        start += size


class Range:
    """A compact range: `size` leaves from the first one on. Grows in place; `copy` it to keep a state."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise Malformed(f"compact range: size {size} is not between 0 and {MAX_SIZE}")
        if len(hashes) != size.bit_count() or any(len(each) != HASH for each in hashes):
            raise Malformed(f"compact range of size {size}: {size.bit_count()} hashes of {HASH} bytes are expected")
        self.size, self._hashes = size, list(hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Range:
        """Read what `to_bytes` wrote. Raises Malformed."""
        if len(data) % HASH:
            raise Malformed(f"compact range: {len(data)} bytes are not a multiple of {HASH}")
        return cls(size, [data[at : at + HASH] for at in range(0, len(data), HASH)])

    def to_bytes(self) -> bytes:
        """The hashes, largest subtree first; the size is kept beside them."""
        return b"".join(self._hashes)

    def copy(self) -> Range:
        return Range(self.size, self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._add(leaf, 1)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, in order; quicker than one by one."""
        start = self.size
        for low, high in perfect_parts(start, start + len(leaves)):
            self._add(fold(leaves[low - start : high - start]), high - low)

    def root(self) -> bytes:
        """Of the whole tree."""
        if not self._hashes:
            return EMPTY_ROOT
        result = self._hashes[-1]
        for each in reversed(self._hashes[:-1]):
            result = node_hash(each, result)
        return result

    def nodes(self) -> dict[tuple[int, int], bytes]:
        """Each hash by the leaves [start, end) that it covers."""
        return dict(zip(perfect_parts(0, self.size), self._hashes, strict=True))

    def _add(self, subtree: bytes, width: int) -> None:
        if self.size + width > MAX_SIZE:
            raise Malformed(f"compact range: more than {MAX_SIZE} leaves")
        rest = self.size // width
        while rest & 1:
            subtree = node_hash(self._hashes.pop(), subtree)
            rest >>= 1
        self._hashes.append(subtree)
        self.size += width
