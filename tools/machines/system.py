"""Running commands, and the errors people read."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class MachineError(Exception):
    """Something that the caller can mend; the text says what and how."""


def say(text: str) -> None:
    """Print one line of progress on standard error, so that standard output stays machine-readable."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `command` and return it completed; a failure shows its own words.

    Raises:
        MachineError: the command is missing, or failed while `check` is set.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MachineError(f"{command[0]}: not installed. Run `make setup` first.") from None
    if check and done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise MachineError(f"`{' '.join(command)}` failed with {done.returncode}:\n{words}")
    return done


def pid_alive(pid: int, start_time: str) -> bool:
    """Whether the process `pid` still is the one that started at `start_time` (clock ticks since boot, proc(5))."""
    return bool(pid) and process_start_time(pid) == start_time


def process_start_time(pid: int) -> str:
    """Start time of `pid` in clock ticks since boot, or "" where there is no such process (zombies count as gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel drops it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def systemd_is_pid_1() -> bool:
    """Whether systemd runs this computer (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()
