"""Small protocols of systemd: the socket it hands over, the word that the service is ready, encrypted credentials.

Sources: sd_listen_fds(3), sd_notify(3), systemd-creds(1).
"""

from __future__ import annotations

import os
import socket
import subprocess

_FIRST = 3
SYSTEMD_CREDS = "systemd-creds"


class CredentialRefused(Exception):
    """systemd-creds does not run or refuses; the text has its words."""


def encrypt_credential(name: str, secret: bytes) -> bytes:
    """A secret as only this host's systemd reads it, for a unit that loads it under this name.

    Args:
        name: which the encrypted form carries, so that it is refused under another.
        secret: goes to systemd-creds by its standard input.

    Raises:
        CredentialRefused.
    """
    # By the TPM too where there is one, but by no measured boot state: an update of the firmware must not take the key.
    command = [SYSTEMD_CREDS, "encrypt", f"--name={name}", "--with-key=auto", "--tpm2-pcrs=", "-", "-"]
    try:
        done = subprocess.run(command, input=secret, capture_output=True, check=False)
    except OSError as error:
        raise CredentialRefused(
            f"{SYSTEMD_CREDS} does not run ({error.strerror}): it comes with systemd 250"
        ) from error
    if done.returncode or not done.stdout:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise CredentialRefused(f"{SYSTEMD_CREDS} encrypt failed: {words[-1] if words else 'it said nothing'}")
    return done.stdout


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
