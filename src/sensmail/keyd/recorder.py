"""Records before anything is opened: whoever asks waits until theirs is durable, or gets an error and nothing.

Several writers take what waits, each in a session of its own: their commits reach the disk together, and all that one
finds waiting is one commit. See `writer`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from sensmail.keyd.errors import Unavailable
from sensmail.keyd.openings import Openings
from sensmail.keyd.writer import Job, Writer
from sensmail.keys import KeyFailure
from sensmail.ledger import Entry
from sensmail.store import Connection

LOG = logging.getLogger(__name__)
ROLE = "sensmail-keyd"
WRITERS = 2
WAIT_S = 20.0  # for a record; the client's own patience is longer


class Recorder:
    """Start it, `await record(...)`, stop it; all in one event loop."""

    def __init__(self, openings: Openings, connect: Callable[[], Connection]) -> None:
        self._openings = openings
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        settling = threading.Lock()
        self._writers = [Writer(openings, connect, self._jobs, settling) for _ in range(WRITERS)]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> str:
        """Writer.CONNECTED, or what is wrong with one of them."""
        return next((each.state for each in self._writers if each.state != Writer.CONNECTED), Writer.CONNECTED)

    def start(self) -> None:
        """Connect, write void records for what an earlier process left open, then serve."""
        self._tasks = [asyncio.create_task(each.run()) for each in self._writers]

    async def stop(self) -> None:
        """Write what is waiting, close the sessions, give unused opening numbers back."""
        for _ in self._writers:
            self._jobs.put_nowait(None)
        _, late = await asyncio.wait(self._tasks, timeout=WAIT_S)
        for each in late:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            self._openings.release()
        except KeyFailure as failure:
            LOG.warning("opening numbers were not given back, void records will follow: %s", failure)

    async def record(self, entries: Sequence[Entry], *, openings: bool = False) -> None:
        """Return once all of these records are durable.

        Args:
            entries: one or more.
            openings: give each the next opening number.

        Raises:
            Unavailable: none of them counts. BadRequest: the database refuses what they say.
        """
        job = Job(entries, openings, asyncio.get_running_loop().create_future())
        self._jobs.put_nowait(job)
        try:
            async with asyncio.timeout(WAIT_S):
                await job.done
        except TimeoutError:
            raise Unavailable(f"the database gave no answer within {WAIT_S:.0f} s; nothing was opened") from None
