"""`python -m sensmail.records.collector`: the collector, as unit sensmail-collector.service."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from sensmail.records.collector import settings
from sensmail.records.collector.names import Names
from sensmail.records.collector.service import serve


def main() -> int:
    """Collect until stopped; exit status 1 and one line on standard error where it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        names, host = Names(settings.key()), settings.host()
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(names, host, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
