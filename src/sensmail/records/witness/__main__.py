"""`python -m sensmail.records.witness`: the witness, as unit sensmail-witness.service."""

from __future__ import annotations

import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.host.unit import run_unit
from sensmail.records.errors import RecordsError
from sensmail.records.witness import keys
from sensmail.records.witness.service import run
from sensmail.records.witness.settings import load


def main() -> int:
    """Serve until stopped; exit status 1 and one line on standard error where it cannot."""
    return run_unit(_work, RecordsError, HardeningError, OSError)


def _work() -> None:
    harden()
    run(load(), keys.credentials())


if __name__ == "__main__":
    sys.exit(main())
