"""The witness in a process of its own, as its unit starts it; told by a file to fail as a disk or a power cut would.

python serve.py DIRECTORY PORT KEY…      one argument a log
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

from sensmail.host.files import Files
from sensmail.records.errors import RecordsError
from sensmail.records.witness.service import run
from sensmail.records.witness.settings import Settings

NAME = "witness.example/w1"


class Failing(Files):
    """`full` fails in the middle of a note, `kill` once it is durable, `io` where it should become durable."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        if (self._directory / "full").exists():
            if len(data) < 40:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().pwrite(fd, data[: len(data) - 39], offset)
        return super().pwrite(fd, data, offset)

    def fsync(self, fd: int) -> None:
        if (self._directory / "io").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().fsync(fd)
        if (self._directory / "kill").exists():
            (self._directory / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    directory, port, *logs = sys.argv[1:]
    home = Path(directory)
    settings = Settings(
        name=NAME, listen=["127.0.0.1"], port=int(port), logs=logs, same_controller=False,
        store=str(home / "store"), public=str(home / "keys"),
    )  # fmt: skip
    try:
        run(settings, home / "keys", Failing(home))
    except RecordsError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
