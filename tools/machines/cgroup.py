"""A control group of its own for each machine, where no systemd gives it one.

Without it all machines share one: an init then waits for the processes of another machine before it ends a service.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def make(name: str) -> Path | None:
    """Make the group `name` in the unified hierarchy; None where there is none (cgroups(7))."""
    for mounted in _hierarchies("cgroup2"):
        group = mounted / name
        group.mkdir(exist_ok=True)
        return group
    return None


def remove(name: str) -> None:
    """Remove the group and what the machine made below it, once the kernel has let go of its killed processes.

    systemd-nspawn mirrors it into the older hierarchies where there are any.
    """
    groups = [mounted / name for mounted in _hierarchies("cgroup2", "cgroup")]
    deadline = time.monotonic() + 5
    while (left := [group for group in groups if group.is_dir()]) and time.monotonic() < deadline:
        for directory, _, _ in (found for group in left for found in os.walk(group, topdown=False)):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        time.sleep(0.02)


def _hierarchies(*kinds: str) -> list[Path]:
    mounts = (line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(point) for _, point, kind, *_ in mounts if kind in kinds]
