"""What keeps keys in this process: no swap, no core, nobody who attaches. Source: mlockall(2), prctl(2)."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


class HardeningError(Exception):
    """The process cannot be protected; it must not hold keys."""


def harden() -> None:
    """Lock all memory, present and future; no core dump; /proc/<pid> for root alone; no traceback with values.

    Raises:
        HardeningError: the system does not allow it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):  # the unit does so; it may not change limits itself
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise HardeningError(f"PR_SET_DUMPABLE: {os.strerror(ctypes.get_errno())}")
    if library.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        why = os.strerror(ctypes.get_errno())
        raise HardeningError(f"memory cannot be locked: {why}; set LimitMEMLOCK=infinity in the unit")
    sys.excepthook = _say_only_where


def _say_only_where(kind: type[BaseException], value: BaseException, at: object) -> None:
    del at
    print(f"{kind.__name__}: {value}" if isinstance(value, OSError) else kind.__name__, file=sys.stderr)
