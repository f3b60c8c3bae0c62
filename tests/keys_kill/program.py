"""A program under supervision: its output is followed line by line, it can be killed at a phase and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import stage

_T = TypeVar("_T")
_PHASE = re.compile(r"\bphase=(?P<worker>[a-z_]+)|\broll: (?P<keyd>[a-z_]+)$")


@dataclass(frozen=True)
class Mark:
    """A phase that a program says it has entered, and when (monotonic seconds)."""

    phase: str
    at: float


def urgently(thread: int, on: bool) -> None:
    """Let a thread run before all others, because a phase may last a millisecond; or as the others again."""
    os.setpriority(os.PRIO_PROCESS, thread, -15 if on else 0)


class Program:
    """One program; `start` may be called again once it has ended.

    Attributes:
        marks: the phases that this run has said it entered, in order; a repeated one counts once.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        extra: Mapping[str, str] | None = None,
        group: Path | None = None,
    ) -> None:
        """See the class.

        Args:
            name: for messages.
            command: program and arguments; run in the checkout.
            log: file that all runs' output is appended to.
            extra: environment variables to add.
            group: control group to run in, which decides what unit the key service takes it for.
        """
        self.name, self.log = name, log
        self.marks: list[Mark] = []
        self.lines: list[str] = []
        self._command, self._extra, self._group = list(command), dict(extra or {}), group
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._follower: threading.Thread | None = None

    def start(self) -> None:
        """Start it; its marks and lines begin anew."""
        assert not self.alive, f"{self.name} runs already"
        self.marks, self.lines, self._ended = [], [], False
        command = self._command
        if self._group:  # join the group first, so that no moment is spent outside it
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._group / "cgroup.procs"), *command]
        self._process = subprocess.Popen(
            command,
            cwd=stage.ROOT,
            env=stage.environment(self._extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )
        self._follower = threading.Thread(target=self._follow, args=(self._process,), daemon=True)
        self._follower.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def finished(self) -> bool:
        """Whether it has ended, and well."""
        return self._process is not None and self._process.poll() == 0

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> bool:
        """SIGKILL to it and its children. Returns whether it was still running; its last words are read."""
        assert self._process
        hit = self.alive
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.wait()
        return hit and self._process.returncode == -signal.SIGKILL

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, as systemd would; SIGKILL where that does not end it."""
        assert self._process
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.wait()

    def wait(self, seconds: float = 600.0) -> int:
        """Its exit status, once all its output is read; negative where a signal ended it.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        assert self._process
        assert self._follower
        status = self._process.wait(seconds)
        self._follower.join(10)
        return status

    def wait_phase(self, phase: str, seconds: float, since: int = 0) -> Mark | None:
        """Wait until it enters `phase` (after the first `since` marks); None where it ends or does not in time."""
        return self._until(lambda: next((mark for mark in self.marks[since:] if mark.phase == phase), None), seconds)

    def wait_line(self, pattern: str, seconds: float, since: int = 0) -> re.Match[str] | None:
        """Wait for an output line that matches; None where it ends, or does not come in time."""
        search = re.compile(pattern).search
        return self._until(
            lambda: next((found for line in self.lines[since:] if (found := search(line))), None), seconds
        )

    def tail(self, count: int = 15) -> str:
        """Its last lines."""
        return "\n".join(self.lines[-count:])

    def _until(self, find: Callable[[], _T | None], seconds: float) -> _T | None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while (found := find()) is None:
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    return None
                self._changed.wait(left)
            return found

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        urgently(threading.get_native_id(), True)
        with self.log.open("a", encoding="utf-8") as log:
            for line in process.stdout:
                now = time.monotonic()
                log.write(line)
                self._note(line.rstrip("\n"), now)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _note(self, line: str, now: float) -> None:
        phase = _PHASE.search(line)
        with self._changed:
            self.lines.append(line)
            if phase:
                name = phase["worker"] or phase["keyd"]
                if not self.marks or self.marks[-1].phase != name:
                    self.marks.append(Mark(name, now))
            self._changed.notify_all()
