"""Proofs over many leaves with few of them in memory: whole blocks as one hash, single leaves only where they matter.

A proof needs single leaves only in the block of the leaf that it is about, and in the block where a tree ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sensmail.records.proof import Leaves
from sensmail.records.tree import Range, fold

BLOCK = 1024  # leaves, a power of two


class Outline(Leaves):
    """Give it every leaf behind the cut, in order; then ask for proofs.

    Args:
        cut: the tree before.
        marks: numbers of the leaves that proofs are about, and sizes of the trees that they are about.
        block: leaves to a block, a power of two.
    """

    def __init__(self, cut: Range, marks: Iterable[int], block: int = BLOCK) -> None:
        super().__init__((), cut)
        self._block = block
        self._wanted = {each // block for each in marks} | {cut.size // block}
        self._blocks: dict[int, bytes] = {}  # whole ones behind the cut
        self._single: dict[int, list[bytes]] = {}  # from the start of the block, or from the cut
        self._begun: list[bytes] = []

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes."""
        at = 0
        while at < len(leaves):
            number, inside = divmod(self.size, self._block)
            taken = leaves[at : at + self._block - inside]
            self._begun += taken
            at, self.size = at + len(taken), self.size + len(taken)
            if self.size % self._block == 0:
                self._close(number)

    def _close(self, number: int) -> None:
        if number in self._wanted:
            self._single[number] = self._begun
        if len(self._begun) == self._block:
            self._blocks[number] = fold(self._begun)
        self._begun = []

    def _over(self, low: int, high: int) -> bytes:
        if low < self._cut.size:
            return super()._over(low, high)  # splits until nothing lies before the cut
        first, last = low // self._block, (high - 1) // self._block
        if first == last and high - low < self._block:
            return fold(self._leaves(first, low, high))
        whole = [self._blocks[number] for number in range(first, high // self._block)]
        rest = [fold(self._leaves(last, last * self._block, high))] if high % self._block else []
        return fold([*whole, *rest])

    def _leaves(self, number: int, low: int, high: int) -> list[bytes]:
        held = self._single.get(number)
        if held is None and number == self.size // self._block:
            held = self._begun
        if held is None:
            raise ValueError(f"leaves {low} to {high - 1}: not among the marks")
        start = max(number * self._block, self._cut.size)
        return held[low - start : high - start]
