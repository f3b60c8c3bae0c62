"""`python -m sensmail.keyd`: the key service, as unit sensmail-keyd.service."""

from __future__ import annotations

import logging
import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.keyd.service import run
from sensmail.keyd.settings import load
from sensmail.keys import KeyFailure


def main() -> int:
    """Serve until stopped; exit status 1 and one line on standard error where the keys cannot be had."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        harden()
        run(load())
    except (KeyFailure, HardeningError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
