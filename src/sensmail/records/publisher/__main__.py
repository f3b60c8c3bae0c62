"""`python -m sensmail.records.publisher`: the publisher, as unit sensmail-publisher.service."""

from __future__ import annotations

import logging
import sys

from sensmail.records.errors import RecordsError
from sensmail.records.publisher.service import run
from sensmail.records.publisher.settings import load


def main() -> int:
    """Publish until stopped; exit status 1 and one line on standard error where it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        run(load())
    except (RecordsError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
