"""The work: follow the journal, write what it says, move on, in one transaction a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sensmail.records.collector.clock import Clock
from sensmail.records.collector.journal import Journal
from sensmail.records.collector.line import NoLine, Position, parse
from sensmail.records.collector.names import Names
from sensmail.records.collector.reading import LookAgain, Reading
from sensmail.records.collector.sessions import Sessions
from sensmail.records.collector.store import Store

LOG = logging.getLogger(__name__)
MOST_LINES = 2000  # of one transaction
_WAIT_S, _GATHER_S = 1.0, 0.2  # for a line; for more of them, so that a busy host makes few transactions
_QUIET_S = 30.0  # how often the place is kept where the journal says nothing of interest


class Collector:
    """One session on the database, and the journal read from where that session says."""

    def __init__(self, store: Store, names: Names, clock: Clock, options: Sequence[str] = ()) -> None:
        """Args: options: more for journalctl, such as the directory of another journal."""
        self._store, self._names, self._clock, self._options = store, names, clock, options
        self._looked: Position | None = None

    def run(self, stopped: Callable[[], bool]) -> None:
        """Work until `stopped` says so; what was read and not written is read again by whoever comes next.

        Raises:
            JournalEnded, StrangeCursor: of the journal. Overtaken, psycopg.Error, LedgerError: of the database.
            Begin anew with a new session.
        """
        while not stopped():
            try:
                self._follow(stopped)
            except LookAgain:
                self._looked = self._store.place

    def _follow(self, stopped: Callable[[], bool]) -> None:
        journal = Journal(self._store.place, self._options)
        reading = Reading(
            self._store.place, Sessions(self._store.sessions), self._names, self._clock, looked=self._looked
        )
        kept = time.monotonic()
        try:
            while not stopped():
                try:
                    for text in journal.lines(MOST_LINES, _WAIT_S, _GATHER_S):
                        with suppress(NoLine):
                            reading.take(parse(text))
                except LookAgain:
                    self._write(reading)
                    raise
                batch = reading.batch
                quiet = time.monotonic() - kept < _QUIET_S and batch.lines < MOST_LINES
                if batch.found or batch.refused or not quiet:
                    self._write(reading)
                    kept = time.monotonic()
        finally:
            journal.close()

    def _write(self, reading: Reading) -> None:
        place = reading.batch.place
        entries = reading.finish(self._store.people)
        if place is not None and place != self._store.place:
            self._store.write(entries, place, reading.sessions.kept())
