"""Where a pass stands, for whoever watches: a bar on a terminal, lines otherwise, nothing inside an Ansible module."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

LINE_EVERY_S = 1.0


class Progress:
    """Silent; counts rows, so that a run that moves is told from one that only tries again."""

    def __init__(self) -> None:
        self.name, self.total, self.done, self.moved_at = "", 0, 0, time.monotonic()

    def phase(self, name: str, total: int = 0, done: int = 0) -> None:
        """A phase begins, or goes on after so many rows."""
        self.name, self.total, self.done = name, total, done
        self._started = self._told = time.monotonic()
        self._from = done

    def moved(self, rows: int) -> None:
        """So many rows more are done."""
        self.done += rows
        self.moved_at = time.monotonic()

    def waiting(self, why: str) -> None:
        """Nothing moves, and why."""

    def step(self, text: str) -> None:
        """Something that counts no rows is done."""

    def end(self) -> None:
        """The phase is over."""


class Lines(Progress):
    """`phase=reseal rows=20000/100000 rate=61000/s`: at the start and the end of a phase, and once a second."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def phase(self, name: str, total: int = 0, done: int = 0) -> None:
        super().phase(name, total, done)
        self._line()

    def moved(self, rows: int) -> None:
        super().moved(rows)
        if self.moved_at - self._told >= LINE_EVERY_S:
            self._line()

    def waiting(self, why: str) -> None:
        print(f"phase={self.name} waiting: {why}", file=self._out, flush=True)

    def step(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def end(self) -> None:
        if self.total:
            self._line()

    def _line(self) -> None:
        self._told = time.monotonic()
        passed = self._told - self._started
        rate = f" rate={(self.done - self._from) / passed:.0f}/s" if self.done > self._from and passed > 0 else ""
        print(f"phase={self.name} rows={self.done}/{self.total}{rate}", file=self._out, flush=True)


class Bar(Progress):
    """A bar for each phase that counts rows."""

    def step(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._bar: Any = None

    def phase(self, name: str, total: int = 0, done: int = 0) -> None:
        from tqdm import tqdm  # here: a module or a timer needs no bar

        super().phase(name, total, done)
        self.end()
        self._bar = tqdm(total=total or None, initial=done, desc=name, unit=" rows", file=self._out)

    def moved(self, rows: int) -> None:
        super().moved(rows)
        if self._bar is not None:
            self._bar.update(rows)

    def waiting(self, why: str) -> None:
        if self._bar is not None:
            self._bar.write(f"waiting: {why}", file=self._out)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def watch(out: TextIO | None = None) -> Progress:
    """A bar when `out` (default: standard output) is a terminal, else lines."""
    out = out or sys.stdout
    return Bar(out) if out.isatty() else Lines(out)
