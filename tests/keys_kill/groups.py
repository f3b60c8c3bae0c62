"""Control groups named like the units of a host, since the key service knows its callers by them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def units(*names: str) -> Iterator[dict[str, Path]]:
    """A control group for each unit name, below one of this process's own; removed at the end.

    Raises:
        FileNotFoundError: there is no unified hierarchy that may be written to.
    """
    top = _unified() / f"sensmail-test-{os.getpid()}.slice"
    groups = {name: top / name for name in names}
    try:
        for group in groups.values():
            group.mkdir(parents=True, exist_ok=True)
        yield groups
    finally:
        for group in (*groups.values(), top):
            _remove(group)


def _unified() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(point)
    raise FileNotFoundError("no cgroup2 hierarchy is mounted writably: mount -t cgroup2 none /sys/fs/cgroup/unified")


def _remove(group: Path) -> None:
    """The kernel needs a moment to let go of killed processes."""
    deadline = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
