"""Collecting for ever: after every trouble anew from where the database says; meanwhile journald keeps the lines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import psycopg

from sensmail.ledger import LedgerError
from sensmail.records.collector.clock import Clock
from sensmail.records.collector.collect import Collector
from sensmail.records.collector.journal import JournalEnded
from sensmail.records.collector.line import StrangeCursor
from sensmail.records.collector.names import Names
from sensmail.records.collector.store import ROLE, Store
from sensmail.store import StoreError, connect

LOG = logging.getLogger(__name__)
_WELL_S = 30.0  # after so long it had worked, and the next trouble is a new one
_PAUSES_S = (0.2, 1.0, 5.0)  # before it tries again; the last for good


def serve(names: Names, host: str, stop: threading.Event, options: Sequence[str] = ()) -> None:
    """Collect until told to stop.

    Args:
        names: tells known names.
        host: id of this host.
        stop: set from elsewhere.
        options: more for journalctl, such as the directory of another journal.
    """
    said, tries = "", 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            with connect(ROLE) as connection:
                store = Store(connection, host)
                if not said:
                    LOG.info("collecting from %s", store.place.at.isoformat() if store.place else "the first line")
                Collector(store, names, Clock(), options).run(stop.is_set)
        except (StoreError, LedgerError, psycopg.Error, JournalEnded, StrangeCursor) as error:
            if time.monotonic() - began > _WELL_S:
                said, tries = "", 0
            text = f"{type(error).__name__}: {(str(error).strip() or '?').splitlines()[0]}"
            if text != said:
                LOG.warning("%s; nothing is lost meanwhile, the journal keeps it", text)
                said = text
            stop.wait(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1
