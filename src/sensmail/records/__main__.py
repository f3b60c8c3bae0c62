"""`python -m sensmail.records`: the sealer, as unit sensmail-sealer.service."""

from __future__ import annotations

import logging
import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.records.errors import RecordsError
from sensmail.records.service import run
from sensmail.records.settings import load


def main() -> int:
    """Seal until stopped; exit status 1 and one line on standard error where that cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        harden()
        run(load())
    except (RecordsError, HardeningError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
