"""Ending what runs under an account: its processes, their children, and what its login sessions started as root."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sensmail.rights.errors import NotApplied

_ROUNDS, _PAUSE_S = 100, 0.05


@dataclass(frozen=True)
class Process:
    """One process: its parent, its four user ids (proc_pid_status(5)) and the path of its control group."""

    pid: int
    parent: int
    uids: frozenset[int]
    group: str


@dataclass(frozen=True)
class Sessions:
    """The processes of this host."""

    proc: Path = Path("/proc")
    kill: Callable[[int, int], None] = os.kill
    me: int = 0  # 0: this process

    def of(self, uid: int) -> set[int]:
        """Processes under the account, their descendants, and all of its login sessions: sudo changes the id."""
        present = {each.pid: each for each in self._all()}
        slice_of_user = re.compile(rf"/user-{uid}\.slice(?:/|$)")
        found = {
            each.pid for each in present.values() if uid in each.uids or slice_of_user.search(each.group)
        }  # fmt: skip
        grown = True
        while grown:
            more = {each.pid for each in present.values() if each.parent in found} - found
            found |= more
            grown = bool(more)
        return found - {1}

    def carries_me(self, uid: int) -> bool:
        """Whether this very process runs in a session of the account."""
        return (self.me or os.getpid()) in self.of(uid)

    def end(self, uid: int) -> None:
        """Kill until nothing is left. The account must be closed before, or new ones begin.

        Raises:
            NotApplied: something does not end.
        """
        for _ in range(_ROUNDS):
            left = self.of(uid)
            if not left:
                return
            for pid in left:
                with suppress(ProcessLookupError):
                    self.kill(pid, signal.SIGKILL)
            time.sleep(_PAUSE_S)
        raise NotApplied(
            f"processes {', '.join(map(str, sorted(self.of(uid))))} of uid {uid} do not end; restart the host"
        )

    def _all(self) -> Iterator[Process]:
        for entry in self.proc.iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                status = (entry / "status").read_text(encoding="utf-8", errors="replace")
                group = (entry / "cgroup").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            fields = dict(line.partition(":")[::2] for line in status.splitlines())
            if fields.get("State", "").strip().startswith("Z"):
                continue
            uids = frozenset(int(number) for number in fields["Uid"].split())
            yield Process(int(entry.name), int(fields["PPid"]), uids, group)
