"""What readers, writers and newcomers share: a loop that the test talks to, and patience while something is down.

An actor is a process of its own. It reads words on standard input (`check`, `report`, `stop`), answers each with one
line of JSON when its step at hand is done, and works on until it is stopped. Whatever goes wrong is kept and answered.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import Unavailable
from sensmail.keyd.protocol import Actor as Who
from sensmail.keyd.protocol import Opened, Sealed, Sealing
from sensmail.store import Connection, Settings, Unreachable, connect

_T = TypeVar("_T")

FIELD = 1  # accounts.subject.name in the data map
PURPOSE = "request"
WHO = Who(account="kill-test", origin="tests", client="pytest")
ROLE = "sensmail-jobs"
PATIENCE_S = 120.0  # the longest that anything may be down before it counts as failed
PAUSE_S = 0.05  # connecting anew is work for a server that recovers


class Work:
    """The base of an actor: its sessions, what failed and what was delayed."""

    def __init__(self, database: Path) -> None:
        self._settings = Settings(host=str(database))
        self._keys: KeyService | None = None
        self._database: Connection | None = None
        self.failed: list[str] = []
        self.delayed = 0
        self.done = 0

    def step(self) -> None:
        """One piece of work."""
        raise NotImplementedError

    def answer(self, word: str) -> dict[str, Any]:
        """What is asked: `report`, `check`, or `check full`."""
        return self.report() if word == "report" else self.check(full=word == "check full")

    def check(self, full: bool) -> dict[str, Any]:
        """Compare what is stored with what this actor knows to be true; in full, or what is quick."""
        return {}

    def report(self) -> dict[str, Any]:
        """What was done so far."""
        return {"done": self.done, "delayed": self.delayed, "failed": self.failed}

    @property
    def keys(self) -> KeyService:
        """The key service; connects anew after a failure."""
        self._keys = self._keys or KeyService()
        return self._keys

    @property
    def database(self) -> Connection:
        """A session; opened anew after a failure."""
        if self._database is None:
            self._database = connect(ROLE, settings=self._settings)
            self._database.execute("SET application_name = 'actor'")
        return self._database

    def patiently(self, act: Callable[[], _T]) -> _T:
        """Repeat `act` while the key service or the database is down: delayed, not failed. It must bear repetition."""
        deadline, waited = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                found = act()
            except (*NO_KEYS, *NO_DATABASE) as error:
                if time.monotonic() > deadline:
                    raise
                waited = True
                self._drop(error)
                time.sleep(PAUSE_S)
                continue
            self.delayed += waited
            return found

    def _drop(self, error: Exception) -> None:
        """End the session that failed."""
        if isinstance(error, NO_KEYS) and self._keys is not None:
            self._keys.close()
            self._keys = None
        if isinstance(error, NO_DATABASE) and self._database is not None:
            self._database.close()
            self._database = None

    def envelopes(self, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """The sealed names of these rows."""
        rows = self.database.execute("SELECT id, name FROM accounts.subject WHERE id = ANY (%s)", [list(ids)])
        return {subject: bytes(name) for subject, name in rows.fetchall()}

    def open(self, envelopes: dict[UUID, bytes]) -> dict[UUID, Opened]:
        """Open sealed names; recorded, as every opening."""
        values = [Sealed(subject, FIELD, row_key(subject), envelope) for subject, envelope in envelopes.items()]
        return dict(zip(envelopes, self.keys.open_many(values, PURPOSE, WHO), strict=True))

    def seal(self, values: dict[UUID, int]) -> dict[UUID, bytes]:
        """Seal the value with this number for each subject."""
        wanted = [
            Sealing(subject, FIELD, row_key(subject), text(subject, number)) for subject, number in values.items()
        ]
        return dict(zip(values, self.keys.seal(wanted), strict=True))

    def differences(self, truth: dict[UUID, int]) -> list[str]:
        """Rows that are not there, do not open, or hold another value than the one they should."""
        found: list[str] = []
        ids = list(truth)
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            stored = self.patiently(lambda some=some: self.open(self.envelopes(some)))  # type: ignore[misc]
            for subject in some:
                is_now = stored.get(subject)
                value = is_now.value if is_now else None
                if value != text(subject, truth[subject]):
                    reason = "no row" if is_now is None else is_now.refusal or f"holds {value!r}"
                    found.append(f"{subject}: {reason}, not number {truth[subject]}")
        return found


NO_KEYS = (Unavailable,)
NO_DATABASE = (Unreachable, psycopg.OperationalError, psycopg.InterfaceError)


def text(subject: UUID, number: int) -> bytes:
    """The value number `number` of a row: it names its row, so that a swapped value shows."""
    return f"{subject.hex}:{number}".encode()


def number_in(value: bytes, subject: UUID) -> int | None:
    """The number of a value; None where it is not a value of this row."""
    owner, _, number = value.decode(errors="replace").partition(":")
    return int(number) if owner == subject.hex and number.isdecimal() else None


def run(work: Work, pause_s: float) -> None:
    """The loop: step and pause until told to stop; answer what is asked in between."""
    asked: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line.strip())
        asked.put("stop")  # the test is gone

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            word = asked.get(timeout=pause_s)
        except queue.Empty:
            work.step()
            continue
        if word == "stop":
            return
        print(json.dumps(work.answer(word)), flush=True)
