"""`python -m sensmail.records`: the sealer, as unit sensmail-sealer.service."""

from __future__ import annotations

import sys

from sensmail.host.hardening import HardeningError, harden
from sensmail.host.unit import run_unit
from sensmail.records.errors import RecordsError
from sensmail.records.service import run
from sensmail.records.settings import load


def main() -> int:
    """Seal until stopped; exit status 1 and one line on standard error where that cannot go on."""
    return run_unit(_work, RecordsError, HardeningError)


def _work() -> None:
    harden()
    run(load())


if __name__ == "__main__":
    sys.exit(main())
