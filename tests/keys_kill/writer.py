"""Writers change values, newcomers add persons; each knows what must be stored and can compare."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from keys_kill.actor import Work

SAMPLE = 100  # rows that a short check compares beside those that were written since the last one
HOLD_S = 0.3  # how long a sealed value may lie about before it is stored


class Truth:
    """What must be stored: the number of the value of each row.

    Attributes:
        rows: all of it.
    """

    def __init__(self, rows: dict[UUID, int], source: random.Random) -> None:
        self.rows, self._random = rows, source
        self._fresh: set[UUID] = set()

    def learn(self, rows: dict[UUID, int]) -> None:
        """These were written."""
        self.rows |= rows
        self._fresh |= rows.keys()

    def part(self, full: bool) -> dict[UUID, int]:
        """All of it; or what was written since the last time, before it is written over, and a sample of the rest."""
        some = self._fresh | set(self._random.sample(list(self.rows), min(SAMPLE, len(self.rows))))
        self._fresh = set()
        return dict(self.rows) if full else {subject: self.rows[subject] for subject in some}


class Writer(Work):
    """Changes the rows that are its own, so that it alone knows what they hold; half of the time by compare-and-set.

    A commit whose outcome it did not learn is simply made again with the same value.
    """

    def __init__(self, database: Path, ids: list[UUID], seed: int) -> None:
        super().__init__(database)
        self._random = random.Random(seed)
        self._truth = Truth(dict.fromkeys(ids, 0), self._random)
        self._own = ids

    def step(self) -> None:
        subject = self._random.choice(self._own)
        number = self._truth.rows[subject] + 1
        way = self._compared if self._random.random() < 0.5 else self._blind
        hold = self._random.uniform(0, HOLD_S) if self._random.random() < 0.05 else 0.0
        while not self.patiently(lambda: way(subject, number, hold)):
            pass  # somebody else, the resealer, changed the row in between: look again
        self._truth.learn({subject: number})
        self.done += 1

    def _blind(self, subject: UUID, number: int, hold: float) -> bool:
        envelope = self.seal({subject: number})[subject]
        time.sleep(hold)
        changed = self.database.execute("UPDATE accounts.subject SET name = %s WHERE id = %s", (envelope, subject))
        return changed.rowcount == 1 or self._lost(subject)

    def _compared(self, subject: UUID, number: int, hold: float) -> bool:
        before = self.envelopes([subject])
        if not before:
            return self._lost(subject)
        envelope = self.seal({subject: number})[subject]
        time.sleep(hold)
        changed = self.database.execute(
            "UPDATE accounts.subject SET name = %s WHERE id = %s AND name = %s", (envelope, subject, before[subject])
        )
        return changed.rowcount == 1

    def _lost(self, subject: UUID) -> bool:
        self.failed.append(f"{subject}: no row")
        return True

    def check(self, full: bool) -> dict[str, Any]:
        """Rows of its own, see `Truth.part`."""
        part = self._truth.part(full)
        return {"checked": len(part), "lost": self.differences(part)}


class Newcomer(Work):
    """Adds persons, a few at a time, each with a sealed name."""

    def __init__(self, database: Path, tenant: UUID, count: int) -> None:
        super().__init__(database)
        self._tenant, self._count = tenant, count
        self._truth = Truth({}, random.Random(count))

    def step(self) -> None:
        subjects = self.patiently(lambda: self.keys.new_subjects(self._count))
        sealed = self.patiently(lambda: self.seal(dict.fromkeys(subjects, 0)))
        self.patiently(lambda: self._insert(sealed))
        self._truth.learn(dict.fromkeys(subjects, 0))
        self.done += len(subjects)

    def _insert(self, sealed: dict[UUID, bytes]) -> None:
        rows = [(subject, self._tenant, f"n{subject.hex}@kill.test", name) for subject, name in sealed.items()]
        with self.database.transaction(), self.database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO accounts.subject (id, tenant_id, address, quota_bytes, send_limit_per_hour, name)"
                " VALUES (%s, %s, %s, 1, 0, %s) ON CONFLICT (id) DO NOTHING",
                rows,
            )

    def check(self, full: bool) -> dict[str, Any]:
        """Persons that it has added, see `Truth.part`."""
        part = self._truth.part(full)
        return {"checked": len(part), "lost": self.differences(part)}
