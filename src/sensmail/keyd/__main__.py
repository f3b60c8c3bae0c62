"""`python -m sensmail.keyd`: the key service, as unit sensmail-keyd.service."""

from __future__ import annotations

import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.host.unit import run_unit
from sensmail.keyd.service import run
from sensmail.keyd.settings import load
from sensmail.keys import KeyFailure


def main() -> int:
    """Serve until stopped; exit status 1 and one line on standard error where the keys cannot be had."""
    return run_unit(_work, KeyFailure, HardeningError, OSError)


def _work() -> None:
    harden()
    run(load())


if __name__ == "__main__":
    sys.exit(main())
