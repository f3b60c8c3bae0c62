"""The auditor looks at everything at rest: each row is there, what its key version's state is, whether it opens.

It also keeps values as they once were: when the keys that they were sealed under are destroyed, none may open.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

from keys_kill.actor import FIELD, Work
from sensmail.fields import parse, row_key
from sensmail.keyd.protocol import Sealed

CHUNK = 5000
SAMPLE = 2000  # rows that a short check opens; the full one opens all
OLD = 500  # values that are kept as they were at the last full check


class Auditor(Work):
    """Answers `check` and `check full`; works only when asked."""

    def __init__(self, database: Path, ids: list[UUID], seed: int) -> None:
        super().__init__(database)
        self._ids, self._random = ids, random.Random(seed)
        self._old = self.patiently(lambda: self.envelopes(self._random.sample(ids, OLD)))

    def step(self) -> None:
        """Nothing: it waits to be asked."""

    def check(self, full: bool) -> dict[str, Any]:
        """In full: every row. Else how many rows there are, and a sample."""
        if not full:
            chosen = self._random.sample(self._ids, SAMPLE)
            stored = self.patiently(lambda: self.envelopes(chosen))
            missing = [str(each) for each in chosen if each not in stored]
            return {"rows": self.patiently(self._count), "missing": missing, "refused": self._refused(stored)}
        stored = self.patiently(self._stored)
        status = self.patiently(lambda: self.keys.status())
        old, self._old = self._old, {each: stored[each] for each in self._random.sample(list(stored), OLD)}
        return {
            "rows": len(stored),
            "missing": [str(each) for each in self._ids if each not in stored],
            "census": self._census(stored),
            "opened": len(stored),
            "refused": self._refused(stored),
            "old": self._census(old),
            "old_open": OLD - len(self._refused(old)),
            "kept_keys": status.counts["restore_only"],
            "destroying": status.destroying,
        }

    def _count(self) -> int:
        return int(self.database.execute("SELECT count(name) FROM accounts.subject").fetchall()[0][0])

    def _stored(self) -> dict[UUID, bytes]:
        rows = self.database.execute("SELECT id, name FROM accounts.subject").fetchall()
        return {subject: bytes(name) for subject, name in rows}

    def _census(self, stored: dict[UUID, bytes]) -> dict[str, int]:
        versions = [(subject, parse(name).key_version) for subject, name in stored.items()]
        counts: Counter[str] = Counter()
        for start in range(0, len(versions), CHUNK):
            some = versions[start : start + CHUNK]
            counts.update(self.patiently(lambda some=some: self.keys.census(some)))  # type: ignore[misc]
        return {state: count for state, count in counts.items() if count}

    def _refused(self, envelopes: dict[UUID, bytes]) -> list[str]:
        values = [Sealed(subject, FIELD, row_key(subject), name) for subject, name in envelopes.items()]
        refused: list[str] = []
        for start in range(0, len(values), CHUNK):
            some = values[start : start + CHUNK]
            found = self.patiently(lambda some=some: self.keys.check(some, "kill test"))  # type: ignore[misc]
            refused += [f"{value.subject}: {reason}" for value, reason in zip(some, found, strict=True) if reason]
        return refused
