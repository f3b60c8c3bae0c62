"""The numbers of openings: taken from the key file in blocks, each used for exactly one record.

A block costs one sync of the key file's counter, so blocks grow with the demand; after a crash each number of a block
that has no record gets a void one, so blocks shrink when nobody asks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from sensmail.keys import Keyring

SMALLEST, LARGEST = 32, 8192
_AHEAD = 8  # blocks, for the seconds of a roll
_BUSY_S = 1.0  # a block that is used up faster is followed by a larger one


class Openings:
    """Several writers of records take numbers, each says once what became of what it took; anybody may top up."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._free: deque[int] = deque()  # in order
        self._taken: set[int] = set()  # the lowest of each take that a writer still works on
        self._doubtful = set(ring.unsettled_openings())
        self._lock = threading.Lock()
        self._block, self._reserved_at = SMALLEST, 0.0

    @property
    def doubtful(self) -> list[int]:
        """Numbers that may or may not have a record: look for it, write a void one, then `resolve`."""
        with self._lock:
            return sorted(self._doubtful)

    def at_hand(self, count: int) -> bool:
        """Whether so many can be taken without the disk."""
        return len(self._free) >= count

    def take(self, count: int) -> list[int]:
        """The lowest free numbers, in order; then `used`, `give_back` or `doubt` of exactly these.

        Raises:
            KeyFailure: the counter of the key file cannot be written.
        """
        with self._lock:
            if len(self._free) < count:
                self._reserve(count - len(self._free))
            numbers = [self._free.popleft() for _ in range(count)]
            self._taken.update(numbers[:1])
            return numbers

    def top_up(self) -> None:
        """Have numbers at hand for a time in which the key file is busy. Raises KeyFailure."""
        with self._lock:
            wanted = _AHEAD * self._block - len(self._free)
            if wanted > 0:
                self._free.extend(self._ring.reserve_openings(wanted))

    def used(self, numbers: Sequence[int]) -> None:
        """Each of these has its record."""
        with self._lock:
            self._taken.difference_update(numbers[:1])
            self._settle()

    def give_back(self, numbers: Sequence[int]) -> None:
        """Their record was certainly not kept: they come first next time."""
        with self._lock:
            self._taken.difference_update(numbers[:1])
            self._free = deque(sorted([*numbers, *self._free]))

    def doubt(self, numbers: Sequence[int]) -> None:
        """Their record may have been kept: the connection was lost before the answer."""
        with self._lock:
            self._taken.difference_update(numbers[:1])
            self._doubtful.update(numbers)

    def resolve(self, numbers: Sequence[int]) -> None:
        """Each of these doubtful numbers has a record now."""
        with self._lock:
            self._doubtful.difference_update(numbers)
            self._settle()

    def release(self) -> None:
        """Before a clean stop: give back the numbers above every one that was ever used. Raises KeyFailure."""
        with self._lock:
            self._settle()
            if self._doubtful or self._taken:
                return
            through = issued = self._ring.unsettled_openings().stop - 1
            while self._free and self._free[-1] == through:  # one below that came back has a used one above it
                through = self._free.pop() - 1
            if through < issued:
                self._ring.release_openings(through)

    def _reserve(self, count: int) -> None:
        now = time.monotonic()
        busy = now - self._reserved_at < _BUSY_S
        self._block = min(2 * self._block, LARGEST) if busy else SMALLEST
        self._reserved_at = now
        self._free.extend(self._ring.reserve_openings(max(count, self._block)))

    def _settle(self) -> None:
        """Up to the first number without a record."""
        without = [min(numbers) for numbers in (self._doubtful, self._taken) if numbers]
        without += [self._free[0]] if self._free else []
        self._ring.settle_openings(min(without, default=self._ring.unsettled_openings().stop) - 1)
