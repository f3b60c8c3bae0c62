"""Reading the journal: one `journalctl` as a child, whose output is read only as fast as records are written.

A child and not a library: the program is that of the host, with the security updates of the host, and it parses what
strangers wrote in a process of its own. Bindings bring a systemd of their own, which may not know the host's files.
Fields of more than 4,096 bytes are left out by journalctl, so nobody can make a line that fills the memory.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import IO

from sensmail.records.collector.line import FIELDS, Position

PROGRAM = "journalctl"
_CHUNK = 1 << 20
_STOP_S = 5.0


class JournalEnded(Exception):
    """journalctl ended, or cannot be started. The text says how."""


class Journal:
    """Lines from a place on, for ever: first those that are there, then each as it comes."""

    def __init__(self, after: Position | None, options: Sequence[str] = ()) -> None:
        """Start journalctl; where `after` is given and still there, it is the first line.

        Args:
            after: the last line that is done with.
            options: more for journalctl, such as the directory of another journal.

        Raises:
            JournalEnded: it cannot be started.
        """
        where = [f"--cursor={after.cursor}"] if after else []
        command = [
            PROGRAM, "--quiet", "--no-pager", "--output=json", f"--output-fields={','.join(FIELDS)}",
            "--boot=all", "--follow", "--no-tail", *where, *options,
        ]  # fmt: skip
        try:
            self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise JournalEnded(f"{PROGRAM} does not start: {error.strerror}") from error
        assert self._child.stdout is not None
        self._output: IO[bytes] = self._child.stdout
        os.set_blocking(self._output.fileno(), False)
        self._rest = b""

    def lines(self, most: int, wait_s: float, gather_s: float) -> list[bytes]:
        """Up to `most` lines; none where none came in time.

        Args:
            most: a bound of the answer.
            wait_s: for the first line.
            gather_s: for more lines after it.

        Raises:
            JournalEnded: there will be no more.
        """
        found: list[bytes] = []
        deadline = time.monotonic() + wait_s
        while len(found) < most:
            *whole, rest = self._rest.split(b"\n", most - len(found))
            if whole:
                if not found:
                    deadline = time.monotonic() + gather_s
                found += whole
                self._rest = rest
                continue
            if not self._more(deadline):
                break
        return found

    def _more(self, deadline: float) -> bool:
        """Wait for output; False when the time is over."""
        patience = deadline - time.monotonic()
        if patience <= 0 or not select.select([self._output], [], [], patience)[0]:
            return False
        data = self._output.read(_CHUNK)
        if data == b"":
            raise JournalEnded(f"{PROGRAM} ended with status {self._child.wait()}")
        self._rest += data or b""
        return True

    def close(self) -> None:
        """End the child."""
        self._child.terminate()
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._output.close()
