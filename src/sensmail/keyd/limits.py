"""How often and how much: buckets of openings and new keys, shares of memory and connections, repeated refusals."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from sensmail.keyd.errors import TooMany

MINUTE_S = 60.0
_MANY = 10_000  # refusals of different kinds that are remembered


class Limits:
    """One bucket a unit; a full one holds what the unit may have in one minute."""

    def __init__(self, what: str, setting: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`what` is counted, for example "openings"; `setting` names its rate in the policy."""
        self._what, self._setting, self._clock = what, setting, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # unit: tokens, when

    def take(self, unit: str, count: int, per_minute: int) -> None:
        """Take so many out of the unit's bucket, all or none.

        Raises:
            TooMany: the text says how long to wait.
        """
        now = self._clock()
        tokens, then = self._buckets.get(unit, (float(per_minute), now))
        tokens = min(float(per_minute), tokens + (now - then) * per_minute / MINUTE_S)
        if count > tokens:
            self._buckets[unit] = tokens, now
            wait = f"try again in {(count - tokens) * MINUTE_S / per_minute:.0f} s" if count <= per_minute else ""
            fix = wait or f"ask for fewer at once, or raise {self._setting} in the policy"
            raise TooMany(f"{unit}: {count} {self._what} are beyond the {per_minute} a minute of the policy; {fix}")
        self._buckets[unit] = tokens - count, now


class Shares:
    """What each unit holds at a time of something finite, so that none crowds the others out."""

    def __init__(self, what: str, most: int, fix: str) -> None:
        self._what, self._most, self._fix = what, most, fix
        self._held: Counter[str] = Counter()

    def take(self, unit: str, count: int) -> None:
        """Until it is given back. Raises TooMany where the unit would hold more than its share."""
        if self._held[unit] + count > self._most:
            who = unit or "processes whose unit cannot be told"
            raise TooMany(f"{who}: more than {self._most} {self._what} at a time; {self._fix}")
        self._held[unit] += count

    def give_back(self, unit: str, count: int) -> None:
        """What was taken."""
        self._held[unit] -= count
        if not self._held[unit]:
            del self._held[unit]

    @contextmanager
    def held(self, unit: str, count: int) -> Iterator[None]:
        """While the block runs. Raises TooMany."""
        self.take(unit, count)
        try:
            yield
        finally:
            self.give_back(unit, count)


class Throttle:
    """Lets the first of its kind through each minute, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Hashable, tuple[float, int]] = {}  # kind: when let through, how many since

    def pass_on(self, kind: Hashable) -> int | None:
        """None: this one was counted only. Otherwise how many were counted since the last that was let through."""
        now = self._clock()
        when, count = self._seen.get(kind, (-MINUTE_S, 0))
        if now - when < MINUTE_S:
            self._seen[kind] = when, count + 1
            return None
        if len(self._seen) >= _MANY:
            self._seen = {each: seen for each, seen in self._seen.items() if now - seen[0] < MINUTE_S}
        self._seen[kind] = now, 0
        return count
