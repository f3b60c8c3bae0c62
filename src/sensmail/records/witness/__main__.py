"""`python -m sensmail.records.witness`: the witness, as unit sensmail-witness.service."""

from __future__ import annotations

import logging
import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.records.errors import RecordsError
from sensmail.records.witness import keys
from sensmail.records.witness.service import run
from sensmail.records.witness.settings import load


def main() -> int:
    """Serve until stopped; exit status 1 and one line on standard error where it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        harden()
        run(load(), keys.credentials())
    except (RecordsError, HardeningError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
