"""A reader: opens random rows without end, one by one or in batches, and notices a value that went back in time."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from keys_kill.actor import Work, number_in


class Reader(Work):
    """Counts every value it has read; a refusal, a foreign value or an older one than before is a failed read."""

    def __init__(self, database: Path, batch: int, seed: int) -> None:
        super().__init__(database)
        self._batch, self._random = batch, random.Random(seed)
        self._ids = self.patiently(self._all_ids)
        self._seen: dict[UUID, int] = {}
        self._seconds: list[float] = []
        self._waited: list[float] = []

    def _all_ids(self) -> list[UUID]:
        return [row[0] for row in self.database.execute("SELECT id FROM accounts.subject").fetchall()]

    def step(self) -> None:
        wanted = self._random.sample(self._ids, self._batch)
        delayed, begun = self.delayed, time.perf_counter()
        opened = self.patiently(lambda: self.open(self.envelopes(wanted)))
        seconds = time.perf_counter() - begun
        (self._waited if self.delayed > delayed else self._seconds).append(seconds)
        for subject in wanted:
            found = opened.get(subject)
            number = number_in(found.value, subject) if found and found.value is not None else None
            if found is None or number is None:
                self.failed.append(f"{subject}: {'no row' if found is None else found.refusal or found.value!r}")
            elif number < self._seen.get(subject, 0):
                self.failed.append(f"{subject}: read number {number} after number {self._seen[subject]}")
            else:
                self._seen[subject] = number
        self.done += len(wanted)

    def report(self) -> dict[str, Any]:
        """Also how long a call took, in milliseconds: calls that nothing delayed, and all of them."""
        every = self._seconds + self._waited
        return {
            **super().report(),
            "batch": self._batch,
            "calls": len(every),
            "undisturbed_ms": _quantiles(self._seconds),
            "all_ms": _quantiles(every),
        }


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2) for name, part in parts.items()
    }
