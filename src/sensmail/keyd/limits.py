"""How often: a token bucket of openings for each unit, and how often a repeated refusal is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from sensmail.keyd.errors import TooMany

MINUTE_S = 60.0
_MANY = 10_000  # refusals of different kinds that are remembered


class Limits:
    """One bucket a unit; a full one holds the openings of one minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # unit: tokens, when

    def take(self, unit: str, openings: int, per_minute: int) -> None:
        """Take openings out of the unit's bucket, all or none.

        Raises:
            TooMany: the text says how long to wait.
        """
        now = self._clock()
        tokens, then = self._buckets.get(unit, (float(per_minute), now))
        tokens = min(float(per_minute), tokens + (now - then) * per_minute / MINUTE_S)
        if openings > tokens:
            self._buckets[unit] = tokens, now
            wait = f"try again in {(openings - tokens) * MINUTE_S / per_minute:.0f} s" if openings <= per_minute else ""
            fix = wait or "ask for fewer at once, or raise openings_per_minute in the policy"
            raise TooMany(f"{unit}: {openings} openings are beyond the {per_minute} a minute of the policy; {fix}")
        self._buckets[unit] = tokens - openings, now


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
