"""`python -m sensmail.records.publisher`: the publisher, as unit sensmail-publisher.service."""

from __future__ import annotations

import sys

from sensmail.host.unit import run_unit
from sensmail.records.errors import RecordsError
from sensmail.records.publisher.service import run
from sensmail.records.publisher.settings import load


def main() -> int:
    """Publish until stopped; exit status 1 and one line on standard error where it cannot."""
    return run_unit(_work, RecordsError, OSError)


def _work() -> None:
    run(load())


if __name__ == "__main__":
    sys.exit(main())
