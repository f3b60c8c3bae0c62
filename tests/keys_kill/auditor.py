"""The auditor looks at everything at rest: each row is there, what its key version's state is, whether it opens."""

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


class Auditor(Work):
    """Answers `check` and `check full`; works only when asked."""

    def __init__(self, database: Path, ids: list[UUID], seed: int) -> None:
        super().__init__(database)
        self._ids, self._random = ids, random.Random(seed)

    def step(self) -> None:
        """Nothing: it waits to be asked."""

    def check(self, full: bool) -> dict[str, Any]:
        stored = self.patiently(self._stored)
        versions = [(subject, parse(name).key_version) for subject, name in stored.items()]
        census: Counter[str] = Counter()
        for start in range(0, len(versions), CHUNK):
            some = versions[start : start + CHUNK]
            census.update(self.patiently(lambda some=some: self.keys.census(some)))  # type: ignore[misc]
        chosen = list(stored) if full else self._random.sample(list(stored), SAMPLE)
        return {
            "rows": len(stored),
            "missing": [str(each) for each in self._ids if each not in stored],
            "census": {state: count for state, count in census.items() if count},
            "opened": len(chosen),
            "refused": self._refused({each: stored[each] for each in chosen}),
        }

    def _stored(self) -> dict[UUID, bytes]:
        rows = self.database.execute("SELECT id, name FROM accounts.subject").fetchall()
        return {subject: bytes(name) for subject, name in rows}

    def _refused(self, envelopes: dict[UUID, bytes]) -> list[str]:
        values = [Sealed(subject, FIELD, row_key(subject), name) for subject, name in envelopes.items()]
        refused: list[str] = []
        for start in range(0, len(values), CHUNK):
            some = values[start : start + CHUNK]
            found = self.patiently(lambda some=some: self.keys.check(some, "kill test"))  # type: ignore[misc]
            refused += [f"{value.subject}: {reason}" for value, reason in zip(some, found, strict=True) if reason]
        return refused
