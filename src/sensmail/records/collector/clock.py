"""What can be said of the clock that a line was written by: synchronised or not, ahead of now, or just set."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from sensmail.records.collector.line import Position

SYNCHRONISED, UNSYNCHRONISED, UNKNOWN = "synchronised", "unsynchronised", "unknown"
AHEAD, STEPPED = "_ahead", "_stepped"  # added to a state
TIMESYNC = Path("/run/systemd/timesync/synchronized")
_FRESH_S = 10.0  # how long one look at the clock holds
_OLD_US = 60_000_000  # what was written longer ago was written by a clock that nobody looked at
_STEP_US = 1_000_000  # smaller corrections are those of every day
_STA_UNSYNC, _TIME_ERROR = 0x40, 5  # sys/timex.h
_STATUS_AT, _TIMEX_BYTES = 40, 208  # struct timex of 64-bit Linux: the field `status`, and room for the whole


def kernel_state(marker: Path = TIMESYNC) -> str:
    """Whether the clock is synchronised, as the kernel was told by chronyd or timesyncd. Source: adjtimex(2).

    In a container that may not ask: only what timesyncd left, else unknown.
    """
    timex = (ctypes.c_char * _TIMEX_BYTES)()
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    if answer >= 0:
        status = int.from_bytes(timex.raw[_STATUS_AT : _STATUS_AT + 4], "little")
        return UNSYNCHRONISED if answer == _TIME_ERROR or status & _STA_UNSYNC else SYNCHRONISED
    return SYNCHRONISED if marker.exists() else UNKNOWN


class Clock:
    """Asks the state now and then, and compares each line with the one before it."""

    def __init__(
        self, state: Callable[[], str] = kernel_state, now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._ask, self._now_us = state, now_us
        self._looked, self._state = -_FRESH_S, UNKNOWN

    def says(self, place: Position, step_us: int) -> str:
        """The word for the record of a line: `synchronised`, `unsynchronised`, `unknown`; with `_ahead` or `_stepped`.

        Args:
            place: of the line.
            step_us: how far the clock was set between the line before and this one.
        """
        now = self._now_us()
        if place.time > now + _STEP_US:
            return self._current() + AHEAD
        state = UNKNOWN if now - place.time > _OLD_US else self._current()
        return state + STEPPED if step_us else state

    def _current(self) -> str:
        moment = time.monotonic()
        if moment - self._looked >= _FRESH_S:
            self._looked, self._state = moment, self._ask()
        return self._state


def step_us(before: Position | None, after: Position) -> int:
    """By how many microseconds the clock was set between two lines of one run of the system; 0 for less than 1 s."""
    if before is None or before.boot != after.boot:
        return 0
    step = (after.time - before.time) - (after.monotonic - before.monotonic)
    return step if abs(step) >= _STEP_US else 0
