"""The publisher as a service: one thread a witness, so that one that hangs keeps nobody waiting."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from sensmail.host import systemd
from sensmail.records.entry import LEDGERS, Ledger
from sensmail.records.errors import RecordsError
from sensmail.records.publisher import state
from sensmail.records.publisher.client import Client
from sensmail.records.publisher.database import ROLE, Cosigned, Database
from sensmail.records.publisher.errors import PublishError
from sensmail.records.publisher.publisher import Publisher
from sensmail.records.publisher.settings import STATE, Settings, Witness
from sensmail.store import Connection, StoreError, connect

LOG = logging.getLogger(__name__)
LONGEST_PAUSE_S = 300.0
_TELL_S = 10.0


class Service:
    """Run it until `stop`.

    Args:
        settings: of the publisher.
        connect: opens a session as ROLE.
        path: of the state that it writes.
    """

    def __init__(self, settings: Settings, connect: Callable[[], Connection], path: Path = STATE) -> None:
        self._settings, self._connect, self._path = settings, connect, path
        self._stop = threading.Event()
        self._lock = threading.Lock()
        now = int(time.time())
        self._entries = {
            (each.key, ledger): state.Entry(each.key, ledger, since=now)
            for each in settings.witnesses
            for ledger in LEDGERS
        }

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Publish until stopped. Raises OSError: the state cannot be written."""
        threads = [threading.Thread(target=self._work, args=(each,), daemon=True) for each in self._settings.witnesses]
        for each in threads:
            each.start()
        while not self._stop.wait(min(self._settings.every_seconds, _TELL_S)):
            if not all(each.is_alive() for each in threads):
                raise RuntimeError("a thread of the publisher has ended; see above")
            with self._lock:
                state.write(state.State(int(time.time()), [*self._entries.values()]), self._path)
                troubles = sorted({each.trouble for each in self._entries.values() if each.trouble})
            systemd.notify("WATCHDOG=1", f"STATUS={', '.join(troubles) or 'every newest checkpoint is cosigned'}")
        for each in threads:
            each.join(5.0)

    def _work(self, witness: Witness) -> None:
        client, pause = Client(witness), dict.fromkeys(LEDGERS, 0.0)
        connection: Connection | None = None
        publishers: dict[Ledger, Publisher] = {}
        due = dict.fromkeys(LEDGERS, 0.0)
        while not self._stop.is_set():
            for ledger in LEDGERS:
                if time.monotonic() < due[ledger]:
                    continue
                try:
                    if connection is None or connection.closed:
                        connection = self._connect()
                        database = Database(connection)
                        publishers = {each: Publisher(client, database, each) for each in LEDGERS}
                    done = publishers[ledger].publish(self._stop.is_set)
                    self._well(witness, ledger, done)
                    pause[ledger] = 0.0
                except (RecordsError, StoreError, psycopg.Error) as error:
                    if connection is not None and isinstance(error, psycopg.Error):
                        connection.close()
                    self._badly(witness, ledger, error)
                    pause[ledger] = min(LONGEST_PAUSE_S, 2 * pause[ledger] or self._settings.every_seconds)
                due[ledger] = time.monotonic() + pause[ledger] * random.uniform(0.8, 1.0)
            self._stop.wait(self._settings.every_seconds)
        if connection is not None:
            connection.close()

    def _well(self, witness: Witness, ledger: Ledger, done: Cosigned | None) -> None:
        with self._lock:
            entry = self._entries[witness.key, ledger]
            if entry.trouble:
                LOG.warning("%s at %s: again cosigned", ledger, witness.name)
            if done:
                entry.size, entry.time, entry.at = done.head.body.size, done.head.body.time, done.at
            entry.trouble = entry.said = ""
            entry.alarm = False

    def _badly(self, witness: Witness, ledger: Ledger, error: Exception) -> None:
        """The first of its kind is logged, the state has the last."""
        name, said = type(error).__name__, str(error).strip().partition("\n")[0]
        alarm = error.alarm if isinstance(error, PublishError) else isinstance(error, RecordsError)
        with self._lock:
            entry = self._entries[witness.key, ledger]
            if entry.trouble != name:
                LOG.log(logging.ERROR if alarm else logging.WARNING, "%s: %s: %s", ledger, name, said)
                entry.since = int(time.time())
            entry.trouble, entry.said, entry.alarm = name, said, alarm


def run(settings: Settings) -> None:
    """Publish until SIGTERM or SIGINT. Raises OSError."""
    service = Service(settings, lambda: connect(ROLE))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    systemd.notify("READY=1", "STATUS=starting")
    service.run()
    systemd.notify("STOPPING=1")
