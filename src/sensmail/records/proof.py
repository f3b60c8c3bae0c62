"""Proofs of a Merkle tree: made from leaf hashes behind a compact range, and verified with the roots alone.

Sources: RFC 6962 section 2.1 (what a proof is), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (how it is verified).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence

from sensmail.records.errors import BeforeCut, NotProven
from sensmail.records.tree import EMPTY_ROOT, HASH, MAX_SIZE, Range, fold, node_hash


class Leaves:
    """The tree of which a prefix may be gone: a compact range at the cut, and every leaf hash behind it."""

    def __init__(self, hashes: Sequence[bytes], cut: Range | None = None) -> None:
        self._cut = cut or Range()
        self._kept = self._cut.nodes()
        self._hashes = hashes
        self.size = self._cut.size + len(hashes)

    def root(self, size: int | None = None) -> bytes:
        """Of the first `size` leaves; default: of all. Raises BeforeCut."""
        size = self.size if size is None else self._known(size)
        return self._over(0, size) if size else EMPTY_ROOT

    def inclusion(self, leaf: int, size: int | None = None) -> list[bytes]:
        """The proof that `leaf`, counted from 0, is in the tree of `size`.

        Raises:
            BeforeCut: the leaf was pruned, or the tree is smaller than the cut. ValueError: no such leaf or size.
        """
        size = self.size if size is None else self._known(size)
        if not 0 <= leaf < size:
            raise ValueError(f"leaf {leaf}: a tree of size {size} has the leaves from 0 to {size - 1}")
        return self._path(leaf, 0, size)

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree of size `old` is a prefix of that of `size`; empty where `old` is 0 or equal.

        Raises:
            BeforeCut: `old` lies before the cut. ValueError: `old` is larger, or no such size.
        """
        size = self.size if size is None else self._known(size)
        if not 0 <= old <= size:
            raise ValueError(f"a tree of size {old} is no prefix of one of size {size}")
        return [] if old in {0, size} else self._between(old, 0, size, whole=True)

    def _known(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise ValueError(f"size {size}: only {self.size} leaves are known")
        return size

    def _path(self, leaf: int, low: int, high: int) -> list[bytes]:
        if high - low == 1:
            return []
        middle = _split(low, high)
        if leaf < middle:
            return [*self._path(leaf, low, middle), self._over(middle, high)]
        return [*self._path(leaf, middle, high), self._over(low, middle)]

    def _between(self, old: int, low: int, high: int, *, whole: bool) -> list[bytes]:
        """RFC 6962's SUBPROOF over [low, high); `whole`: the verifier knows the hash of the old tree's part."""
        if old == high:
            return [] if whole else [self._over(low, high)]
        middle = _split(low, high)
        if old <= middle:
            return [*self._between(old, low, middle, whole=whole), self._over(middle, high)]
        return [*self._between(old, middle, high, whole=False), self._over(low, middle)]

    def _over(self, low: int, high: int) -> bytes:
        """The hash over the leaves [low, high), low being where RFC 6962 splits."""
        start = self._cut.size
        if low >= start:
            return fold(self._hashes[low - start : high - start])
        if (kept := self._kept.get((low, high))) is not None:
            return kept
        if high <= start and (high - low).bit_count() == 1:
            raise BeforeCut(f"leaves {low} to {high - 1} were pruned: the log is cut at {start}")
        middle = _split(low, high)
        return node_hash(self._over(low, middle), self._over(middle, high))


def verify_inclusion(leaf: int, leaf_hash: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raise NotProven unless `proof` shows that the leaf, counted from 0, is in the tree of this size and root."""
    _check_form(size, root, proof)
    if not 0 <= leaf < size or len(leaf_hash) != HASH:
        raise NotProven(f"inclusion: leaf {leaf} cannot be in a tree of size {size}")
    found = leaf_hash
    for left, each in _climb(leaf, size - 1, proof, "inclusion"):
        found = node_hash(each, found) if left else node_hash(found, each)
    _check_equal(found, root, f"inclusion of leaf {leaf} in size {size}")


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raise NotProven unless `proof` shows that the old tree is a prefix of the new one."""
    _check_form(size, root, proof)
    _check_form(old, old_root, ())
    what = f"consistency from {old} to {size}"
    if old > size or (old in {0, size} and proof):
        raise NotProven(f"{what}: the old tree is larger, or the proof should be empty")
    if old in {0, size}:
        _check_equal(old_root, root if old else EMPTY_ROOT, what)
        return
    rest = list(proof) if old & (old - 1) else [old_root, *proof]  # a perfect old tree is a node of the new one
    if not rest:
        raise NotProven(f"{what}: the proof is too short")
    up = (old & -old).bit_length() - 1
    older = newer = rest[0]
    for left, each in _climb((old - 1) >> up, (size - 1) >> up, rest[1:], what):
        older = node_hash(each, older) if left else older
        newer = node_hash(each, newer) if left else node_hash(newer, each)
    _check_equal(older, old_root, f"{what}: the old root")
    _check_equal(newer, root, f"{what}: the new root")


def _climb(at: int, last: int, proof: Sequence[bytes], what: str) -> Iterator[tuple[bool, bytes]]:
    """Each hash of the proof and whether it stands left, going up from node `at` of a level that ends with `last`."""
    for each in proof:
        if last == 0:
            raise NotProven(f"{what}: the proof is too long")
        left = bool(at & 1) or at == last
        while left and not at & 1 and at:
            at, last = at >> 1, last >> 1
        yield left, each
        at, last = at >> 1, last >> 1
    if last:
        raise NotProven(f"{what}: the proof is too short")


def _split(low: int, high: int) -> int:
    """Where RFC 6962 splits: behind the largest power of two below the width."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _check_form(size: int, root: bytes, proof: Sequence[bytes]) -> None:
    if not 0 <= size <= MAX_SIZE or len(root) != HASH or any(len(each) != HASH for each in proof):
        raise NotProven(f"a size from 0 to {MAX_SIZE} and hashes of {HASH} bytes are expected")
    if size == 0:
        _check_equal(root, EMPTY_ROOT, "the root of an empty tree")


def _check_equal(found: bytes, wanted: bytes, what: str) -> None:
    if not hmac.compare_digest(found, wanted):
        raise NotProven(f"{what}: computed {found.hex()}, stated {wanted.hex()}")
