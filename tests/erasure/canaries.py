"""Watching everything on this computer and its machines while something runs: command lines and environments.

Machines are containers here, so their processes show in this computer's /proc.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from erasure.needles import forms

PERIOD_S = 0.02
MISSED = (FileNotFoundError, ProcessLookupError, PermissionError)


class Watch:
    """Looks at every process again and again.

    Attributes:
        found: process and file in which a secret stood.
        looks: how many processes were looked at, so that a watch that saw nothing can be told.
    """

    def __init__(self, secrets: list[bytes]) -> None:
        self._forms = {form for secret in secrets for form in forms(secret)}  # once: a process may live for a moment
        self._stop = threading.Event()
        self.found: set[str] = set()
        self.looks = 0
        self.names: set[str] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """Watch while the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        seen: set[tuple[int, bytes]] = set()
        while not self._stop.wait(PERIOD_S):
            for entry in os.scandir("/proc"):
                if entry.name.isdecimal():
                    self._look(Path(entry.path), seen)

    def _look(self, process: Path, seen: set[tuple[int, bytes]]) -> None:
        with contextlib.suppress(*MISSED):
            line = (process / "cmdline").read_bytes()
            key = (int(process.name), line)
            if not line or key in seen:  # the same process with the same words was looked at
                return
            text = line + b"\0" + (process / "environ").read_bytes()
            seen.add(key)
            self.looks += 1
            self.names.add(line.split(b"\0", 1)[0].decode(errors="replace"))
            if any(form in text for form in self._forms):
                self.found.add(f"{process}: {line[:80]!r}")
