"""Who asks: user and systemd unit of the process at the other end of a Unix socket, as the kernel names them.

The kernel notes user and process of whoever called connect(2) (SO_PEERCRED, unix(7)). The process names its control
group, and the group its unit. A process id may be used again: a descriptor of the process itself (SO_PEERPIDFD, Linux
6.5) proves afterwards that it was still the same one. An older kernel leaves open the moment from connect to accept.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

SESSION = "session"
UNKNOWN = ""
_SO_PEERPIDFD = 77  # asm-generic/socket.h; Python does not name it
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
# systemd.unit(5): what a unit's name is made of. A group that was removed shows as "name (deleted)", which is none.
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,249}\.(?:service|scope)")
_LOGIN = re.compile(r"session-[A-Za-z0-9]+\.scope|user@\d+\.service")
# A shell where no logind makes a session of it: the unit of the daemon that let it in.
_LOGIN_DAEMON = re.compile(
    r"(?:ssh|sshd)(?:@.*)?\.service|(?:getty|serial-getty|console-getty|container-getty)(?:@.*)?\.service"
)


@dataclass(frozen=True)
class Caller:
    """Who asks; `unit` is empty where it cannot be told, which no policy lists."""

    unit: str
    uid: int
    pid: int


def unit_of(cgroup: str) -> str:
    """The unit that the text of /proc/<pid>/cgroup names, or UNKNOWN. Source: cgroups(7), systemd.slice(5).

    Version 2 has one line `0::/path`; version 1 one a hierarchy, of which `name=systemd` is systemd's. The first part
    of the path that is no slice is the unit: what follows is the unit's own to name, so it proves nothing. A path that
    leaves the namespace of this process (`/../`) names a unit of somebody else.
    """
    paths = {}
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths[controllers] = path
    unified, legacy = paths.get("", "/"), paths.get("name=systemd", "/")
    return _first_unit(legacy if unified == "/" else unified)


def _first_unit(path: str) -> str:
    for part in path.split("/")[1:]:
        if not part.endswith(".slice"):
            name = part.removeprefix("_")  # systemd's escape where a name could be mistaken for a kernel's file
            return name if _UNIT.fullmatch(name) else UNKNOWN
    return UNKNOWN


def name_of(unit: str, uid: int) -> str:
    """How the policy speaks of a unit: login sessions of root are `session`, those of others what they are."""
    if uid == 0 and (_LOGIN.fullmatch(unit) or _LOGIN_DAEMON.fullmatch(unit)):
        return SESSION
    return unit


def identify(connection: socket.socket, proc: Path = Path("/proc")) -> Caller:
    """Who is at the other end; a process that has ended meanwhile is nobody."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        process = _process(connection, pid)
    except OSError:
        return Caller(UNKNOWN, uid, pid)
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
        alive = not select.select([process], [], [], 0)[0]  # readable once the process has ended, pidfd_open(2)
    except (OSError, ValueError):
        return Caller(UNKNOWN, uid, pid)
    finally:
        os.close(process)
    return Caller(name_of(unit_of(text), uid) if alive else UNKNOWN, uid, pid)


def _process(connection: socket.socket, pid: int) -> int:
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:  # the kernel has the option, but that process has ended
            raise
        return os.pidfd_open(pid)
