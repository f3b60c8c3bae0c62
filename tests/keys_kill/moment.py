"""Striking at a moment, where a phase lasts a millisecond."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from keys_kill.program import urgently

EXACT_S = 0.002


@contextlib.contextmanager
def urgent() -> Iterator[None]:
    """This thread runs before all others in the block."""
    thread = threading.get_native_id()
    urgently(thread, True)
    try:
        yield
    finally:  # what is started later must not inherit it
        urgently(thread, False)


def wait_until(moment: float) -> None:
    """Exactly: sleeping wakes up late."""
    if (left := moment - time.monotonic() - EXACT_S) > 0:
        time.sleep(left)
    while time.monotonic() < moment:
        pass
