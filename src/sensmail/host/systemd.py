"""Two small protocols of systemd: the socket it hands over, and the word that the service is ready.

Sources: sd_listen_fds(3), sd_notify(3).
"""

from __future__ import annotations

import os
import socket

_FIRST = 3


def handed_socket() -> socket.socket | None:
    """The listening socket that systemd opened for this unit; None when there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    os.set_inheritable(_FIRST, False)
    return socket.socket(fileno=_FIRST)


def notify(*lines: str) -> None:
    """Tell systemd, for example "READY=1" or "STATUS=..."; nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
