"""One writer of records: a session on the primary, one commit for all who wait when it looks.

A record counts once its commit is durable and every returned row was checked. Where it fails, whoever asked gets an
error. Writers share the jobs and the opening numbers; a number that may or may not have its record is settled by one of
them at a time, before anything more is written.

Writers run in the event loop, because handing each record to a thread costs more than the record. What may take long
and is rare goes to a thread: connecting, settling, and taking a new block of numbers from the key file.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psycopg

from sensmail.keyd.errors import BadRequest, Unavailable
from sensmail.keyd.openings import Openings
from sensmail.keys import KeyFailure
from sensmail.ledger import Entry, Inserts, LedgerError, insert, missing_openings
from sensmail.store import Connection, StoreError

LOG = logging.getLogger(__name__)
MAX_ROWS = 5000  # in one commit
_PAUSE_S = 1.0  # between attempts to reach the database when nobody waits
# On for this session whatever the server's or the role's default; no statement holds everybody up for long.
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET jit = off"
_STATE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"


@dataclass
class Job:
    """Records that are written together, and who waits for them."""

    entries: Sequence[Entry]
    numbered: bool
    done: asyncio.Future[None]

    def answer(self, error: Exception | None) -> None:
        """Tell whoever waits still."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Writer:
    """Takes jobs until it takes None, which is its own; the others have theirs."""

    CONNECTED = "connected"

    def __init__(
        self,
        openings: Openings,
        connect: Callable[[], Connection],
        jobs: asyncio.Queue[Job | None],
        settling: threading.Lock,
    ) -> None:
        self._openings, self._connect, self._jobs, self._settling = openings, connect, jobs, settling
        self._connection: Connection | None = None
        self._inserts: Inserts | None = None
        self.state = "not connected yet"  # or CONNECTED, or what is wrong

    async def run(self) -> None:
        """Until None comes, or cancelled: then a number whose commit was under way is in doubt."""
        try:
            await self._idle()
            while True:
                try:
                    async with asyncio.timeout(_PAUSE_S):
                        first = await self._jobs.get()
                except TimeoutError:
                    await self._idle()
                    continue
                if first is None:
                    break
                await self._write([first, *self._waiting(len(first.entries))])
        finally:
            self._close()

    def _waiting(self, rows: int) -> list[Job]:
        found: list[Job] = []
        while rows < MAX_ROWS and not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is None:  # nothing follows it but those of the others
                self._jobs.put_nowait(None)
                break
            found.append(job)
            rows += len(job.entries)
        return found

    async def _idle(self) -> None:
        """Notice a lost session, and settle what is in doubt, without anybody waiting for it."""
        try:
            await self._session()
        except Unavailable as error:
            LOG.debug("%s", error)
        except Exception:  # a writer must live, or nobody gets a value any more
            LOG.exception("the database session was not renewed")
            self._drop("failed")

    async def _write(self, jobs: list[Job]) -> None:
        """One commit for all; where the records of one are refused, one commit each."""
        error = await self._attempt(jobs)
        for job in jobs:
            alone = isinstance(error, BadRequest) and len(jobs) > 1
            job.answer(await self._attempt([job]) if alone else error)

    async def _attempt(self, jobs: list[Job]) -> Exception | None:
        """Commit, once more over a new session where the old one was lost. Returns what went wrong."""
        for last in (False, True):
            reused = self._connection is not None
            try:
                await self._commit(await self._session(), jobs)
                return None
            except (Unavailable, BadRequest) as error:
                if isinstance(error, BadRequest) or last or not reused or self._connection is not None:
                    return error
            except Exception as error:  # a fault of this program: nobody may get a value for it
                LOG.exception("a record was not written")
                self._drop("failed")
                return Unavailable(f"a record was not written ({type(error).__name__}); nothing was opened")
        return None

    async def _commit(self, session: Inserts, jobs: list[Job]) -> None:
        numbers = await self._take(sum(len(job.entries) for job in jobs if job.numbered))
        left = iter(numbers)
        entries = [replace(each, opening=next(left)) if job.numbered else each for job in jobs for each in job.entries]
        try:
            await session.insert(entries)  # one statement, so one transaction
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
        except BaseException:
            self._openings.doubt(numbers)
            raise
        self._openings.used(numbers)

    async def _take(self, count: int) -> list[int]:
        try:
            if self._openings.at_hand(count):
                return self._openings.take(count)
            return await asyncio.to_thread(self._openings.take, count)
        except KeyFailure as failure:
            raise Unavailable(f"no opening number: {failure}; nothing was opened") from failure

    async def _session(self) -> Inserts:
        """The session on the primary, with nothing in doubt. Raises Unavailable."""
        if self._inserts is not None and not self._openings.doubtful:
            return self._inserts
        if self._inserts is not None:
            self._inserts.leave()
        try:
            connection = await asyncio.to_thread(self._renewed)
        except (psycopg.Error, StoreError, LedgerError, KeyFailure) as error:
            text = f"no record can be written: {_first_line(error)}"
            self._drop(text)
            raise Unavailable(f"{text}; nothing was opened") from error
        self._inserts = self._inserts or Inserts(connection)
        self._inserts.join()
        self.state = self.CONNECTED
        return self._inserts

    def _renewed(self) -> Connection:
        """In a thread, while the session is not the loop's."""
        if self._connection is None:
            self._connection = self._connect()
            self._require_primary(self._connection)
        if self._openings.doubtful:
            self._settle(self._connection)
        return self._connection

    def _require_primary(self, connection: Connection) -> None:
        connection.execute(_SESSION)
        standby, read_only = connection.execute(_STATE).fetchall()[0]
        if standby or read_only:
            what = "a standby" if standby else "read-only (transaction_read_only)"
            raise StoreError(f"the database is {what}; records go to the primary, see /etc/sensmail/engine.toml")

    def _settle(self, connection: Connection) -> None:
        """A void record for each number in doubt that has none."""
        with self._settling:
            doubtful = self._openings.doubtful
            if not doubtful:
                return
            gaps = missing_openings(connection, doubtful[-1], after=doubtful[0] - 1)
            missing = sorted(set(doubtful).intersection(number for gap in gaps for number in gap))
            insert(connection, [Entry("access", "open", outcome="void", opening=number) for number in missing])
            self._openings.resolve(doubtful)
        LOG.info("openings %s to %s: %s void records", doubtful[0], doubtful[-1], len(missing))

    def _drop(self, state: str) -> None:
        self._close()
        if state != self.state:
            self.state = state
            LOG.warning("%s", state)

    def _close(self) -> None:
        if self._inserts is not None:
            self._inserts.leave()
            self._inserts = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
