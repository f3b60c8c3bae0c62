"""The paths of a host for programs that run unchanged on this computer: a mount namespace of their own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

# `cat` ends, and the namespace with it, when whoever made it is gone.
_MAKE = """
set -e
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" /etc
mount -t tmpfs tmpfs /run
mkdir /run/sensmail-keyd
mount --bind "$0/run" /run/sensmail-keyd
echo ready
exec cat
"""


@contextlib.contextmanager
def private(home: Path) -> Iterator[list[str]]:
    """A namespace in which `home/etc` lies over /etc, and `home/run` is /run/sensmail-keyd.

    Yields:
        What to put before a command to run it there.
    """
    for name in ("etc", "work", "run"):
        (home / name).mkdir(exist_ok=True)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MAKE, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            if holder.stdout.readline() != "ready\n":
                raise RuntimeError("a mount namespace could not be made; see what `mount` said above")
            yield ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"]
        finally:
            holder.stdin.close()
