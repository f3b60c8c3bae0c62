"""The sealer as a service: seals again and again, waits where it must, stops where an operator has to act."""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from sensmail.host import systemd
from sensmail.records.errors import DiskFull, HeadChanged, KeysUnusable, RecordsError, Unreachable, Waiting
from sensmail.records.sealer import BATCH, ROLE, Sealer
from sensmail.records.settings import Settings
from sensmail.store import Connection, StoreError, connect

LOG = logging.getLogger(__name__)
POLL_S = 0.2
STALE_S = 300.0  # without a checkpoint for so long, the service fails: that is what reaches an operator
_LONGEST_PAUSE_S = 10.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Service:
    """Run it until `stop`.

    Args:
        settings: name of the log, directory of the keys.
        connect: opens a session on the primary as ROLE.
    """

    def __init__(self, settings: Settings, connect: Callable[[], Connection]) -> None:
        self._settings, self._connect = settings, connect
        self._sealer: Sealer | None = None
        self._connection: Connection | None = None
        self._stop = threading.Event()
        self._fresh = time.monotonic()  # when the last checkpoint was durable
        self._state = ""

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Seal until stopped.

        Raises:
            RecordsError: nothing can be sealed until somebody has looked; or not for STALE_S.
        """
        pause = POLL_S
        try:
            while not self._stop.is_set():
                try:
                    more = self._seal()
                except Waiting as error:
                    self._drop()
                    self._say(f"not sealing: {error}")
                    stale = time.monotonic() - self._fresh
                    if stale > STALE_S:
                        raise RecordsError(f"nothing was sealed for {stale:.0f} s: {error}") from error
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                else:
                    pause = 0.0 if more else POLL_S
                systemd.notify("WATCHDOG=1")
                self._stop.wait(pause)
        finally:
            self._drop()

    def _seal(self) -> bool:
        """One batch; whether more is likely waiting. Raises Waiting where it is worth trying again."""
        try:
            if self._sealer is None:
                self._connection = self._connect()
                sealer = Sealer(self._connection, self._settings.directory, self._settings.log)
                sealer.start()
                self._sealer = sealer
            count = self._sealer.seal()
        except (psycopg.Error, StoreError, OSError) as error:
            raise _named(error) from error
        self._fresh = time.monotonic()
        sizes = ", ".join(f"{ledger} {size}" for ledger, size in self._sealer.heads().items())
        self._say("sealing", f"sealing: {sizes}; newest checkpoint {datetime.now(UTC):%H:%M:%S} UTC")
        return count == BATCH

    def _say(self, state: str, status: str | None = None) -> None:
        if state != self._state:
            LOG.log(logging.INFO if state == "sealing" else logging.WARNING, "%s", state)
            self._state = state
        systemd.notify(f"STATUS={status or state}")

    def _drop(self) -> None:
        """The next attempt starts from what the database and the disk hold, as after a crash."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._sealer = None


def _named(error: Exception) -> RecordsError:
    """What went wrong, as something that passes or something that does not."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, psycopg.errors.DiskFull) or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        return DiskFull(f"no room left: {text}")
    if isinstance(error, psycopg.IntegrityError):
        return HeadChanged(f"the database refuses the batch: {text}")
    if isinstance(error, OSError):
        return KeysUnusable(f"the signing keys cannot be read or written: {text}")
    return Unreachable(f"the database does not take the batch: {text}")


def run(settings: Settings, database: Callable[[], Connection] | None = None) -> None:
    """Seal until SIGTERM or SIGINT. Raises RecordsError as `Service.run` does."""
    service = Service(settings, database or _primary)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    require_private(settings.directory)
    systemd.notify("READY=1", "STATUS=starting")
    service.run()
    systemd.notify("STOPPING=1")


def require_private(directory: Path) -> None:
    """Raise KeysUnusable unless only the service's own account reaches the keys."""
    try:
        mode = directory.stat().st_mode
    except OSError as error:
        raise KeysUnusable(f"{directory}: {error.strerror}; run role records again") from error
    if mode & 0o077:
        raise KeysUnusable(f"{directory}: others than its owner may enter it; chmod 0700, or run role records again")


def _primary() -> Connection:
    return connect(ROLE)
