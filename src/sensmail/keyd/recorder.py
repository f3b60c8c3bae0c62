"""Writes records before anything is opened: one thread, one session on the primary, one commit for all who wait.

A record counts once its commit is durable and every returned row was checked. Whoever asked waits for that; where it
fails they get an error and nothing is opened.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psycopg

from sensmail.keyd.errors import BadRequest, Unavailable
from sensmail.keyd.openings import Openings
from sensmail.keys import KeyFailure
from sensmail.ledger import Entry, LedgerError, insert, missing_openings
from sensmail.store import Connection, StoreError

LOG = logging.getLogger(__name__)
ROLE = "sensmail-keyd"
MAX_ROWS = 5000  # in one commit
WAIT_S = 20.0  # for a record; the client's own patience is longer
_PAUSE_S = 1.0  # between attempts to reach the database when nobody waits
# On for this session whatever the server's or the role's default; no statement holds everybody up for long.
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET jit = off"
_STATE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"


@dataclass
class _Job:
    entries: Sequence[Entry]
    numbered: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    error: Exception | None = None


class Recorder:
    """Start it, `await record(...)`, stop it."""

    def __init__(self, openings: Openings, connect: Callable[[], Connection]) -> None:
        self._openings, self._connect = openings, connect
        self._connection: Connection | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.state = "not connected yet"  # "connected", or what is wrong

    def start(self) -> None:
        """Connect, write void records for what an earlier process left open, then serve."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, close the session, give unused opening numbers back."""
        self._jobs.put(None)
        self._thread.join()

    async def record(self, entries: Sequence[Entry], *, openings: bool = False) -> None:
        """Return once all of these records are durable.

        Args:
            entries: one or more.
            openings: give each the next opening number.

        Raises:
            Unavailable: none of them counts. BadRequest: the database refuses what they say.
        """
        loop = asyncio.get_running_loop()
        job = _Job(entries, openings, loop, loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(WAIT_S):
                await job.done
        except TimeoutError:
            raise Unavailable(f"the database gave no answer within {WAIT_S:.0f} s; nothing was opened") from None

    def _run(self) -> None:
        while True:
            try:
                first = self._jobs.get(timeout=_PAUSE_S)
            except queue.Empty:
                self._idle()
                continue
            jobs = [first, *self._waiting(first)]
            self._write([each for each in jobs if each])
            if None in jobs:
                break
        if self._connection is not None:
            self._connection.close()
        try:
            self._openings.release()
        except KeyFailure as failure:
            LOG.warning("opening numbers were not given back, void records will follow: %s", failure)

    def _waiting(self, first: _Job | None) -> list[_Job | None]:
        found: list[_Job | None] = []
        rows = len(first.entries) if first else MAX_ROWS
        while rows < MAX_ROWS and not self._jobs.empty():
            job = self._jobs.get()
            found.append(job)
            rows += len(job.entries) if job else MAX_ROWS
        return found

    def _idle(self) -> None:
        """Notice a lost session, and settle what is in doubt, without anybody waiting for it."""
        if self._connection is None or self._openings.doubtful:
            try:
                self._session()
            except Unavailable as error:
                LOG.debug("%s", error)
            except Exception:  # this thread must live, or nobody gets a value any more
                LOG.exception("the database session was not renewed")
                self._drop("failed")

    def _write(self, jobs: list[_Job]) -> None:
        """One commit for all; where the records of one are refused, one commit each."""
        error = self._attempt(jobs)
        if isinstance(error, BadRequest) and len(jobs) > 1:
            for job in jobs:
                job.error = self._attempt([job])
        else:
            for job in jobs:
                job.error = error
        for loop in {job.loop for job in jobs}:
            loop.call_soon_threadsafe(_answer, [job for job in jobs if job.loop is loop])

    def _attempt(self, jobs: list[_Job]) -> Exception | None:
        """Commit, once more over a new session where the old one was lost. Returns what went wrong."""
        for last in (False, True):
            reused = self._connection is not None
            try:
                self._commit(self._session(), jobs)
                return None
            except (Unavailable, BadRequest) as error:
                if isinstance(error, BadRequest) or last or not reused or self._connection is not None:
                    return error
            except Exception as error:  # a fault of this program: nobody may get a value for it
                LOG.exception("a record was not written")
                self._drop("failed")
                return Unavailable(f"a record was not written ({type(error).__name__}); nothing was opened")
        return None

    def _commit(self, connection: Connection, jobs: list[_Job]) -> None:
        numbers = self._take(sum(len(job.entries) for job in jobs if job.numbered))
        left = iter(numbers)
        entries = [replace(each, opening=next(left)) if job.numbered else each for job in jobs for each in job.entries]
        try:
            insert(connection, entries)  # one statement, so one transaction
        except (psycopg.DataError, psycopg.errors.CheckViolation) as error:
            self._openings.give_back(numbers)
            raise BadRequest(f"the database refuses this record: {_first_line(error)}") from error
        except LedgerError as error:
            self._openings.give_back(numbers)
            LOG.error("%s", error)
            raise Unavailable(f"{error}; nothing was opened") from error
        except psycopg.Error as error:
            # The answer to COMMIT may be what was lost, and a number may stand in a row that somebody else wrote.
            self._openings.doubt(numbers)
            text = f"no record could be written: {_first_line(error)}"
            self._drop(text)
            raise Unavailable(f"{text}; nothing was opened") from error
        self._openings.used()

    def _take(self, count: int) -> list[int]:
        try:
            return self._openings.take(count)
        except KeyFailure as failure:
            raise Unavailable(f"no opening number: {failure}; nothing was opened") from failure

    def _session(self) -> Connection:
        """The session on the primary, with nothing in doubt. Raises Unavailable."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._require_primary(self._connection)
            if self._openings.doubtful:
                self._settle(self._connection)
        except (psycopg.Error, StoreError, LedgerError, KeyFailure) as error:
            text = f"no record can be written: {_first_line(error)}"
            self._drop(text)
            raise Unavailable(f"{text}; nothing was opened") from error
        self.state = "connected"
        return self._connection

    def _require_primary(self, connection: Connection) -> None:
        connection.execute(_SESSION)
        standby, read_only = connection.execute(_STATE).fetchall()[0]
        if standby or read_only:
            what = "a standby" if standby else "read-only (transaction_read_only)"
            raise StoreError(f"the database is {what}; records go to the primary, see /etc/sensmail/engine.toml")

    def _settle(self, connection: Connection) -> None:
        """A void record for each number in doubt that has none."""
        doubtful = self._openings.doubtful
        gaps = missing_openings(connection, doubtful[-1], after=doubtful[0] - 1)
        missing = sorted(set(doubtful).intersection(number for gap in gaps for number in gap))
        insert(connection, [Entry("access", "open", outcome="void", opening=number) for number in missing])
        self._openings.resolve(doubtful)
        LOG.info("openings %s to %s: %s void records", doubtful[0], doubtful[-1], len(missing))

    def _drop(self, state: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if state != self.state:
            self.state = state
            LOG.warning("%s", state)


def _answer(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.done.done():  # whoever asked has stopped waiting
            continue
        if job.error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(job.error)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
