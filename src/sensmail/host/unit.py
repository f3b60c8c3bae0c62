"""The frame of a service of ours: what it says goes to the journal; a failure that has words ends it with them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable


def run_unit(work: Callable[[], None], *failures: type[Exception]) -> int:
    """Work until stopped; the exit status.

    Args:
        work: ends when systemd asks it to.
        failures: errors whose text names the fix; one ends the unit with status 1 and one line on standard error.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        work()
    except failures as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0
