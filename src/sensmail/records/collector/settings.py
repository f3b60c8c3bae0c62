"""What the collector is told: nothing but its key, as a credential of its unit. Source: systemd.exec(5)."""

from __future__ import annotations

import os
import re
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
DIRECTORY, CREDENTIAL = "CREDENTIALS_DIRECTORY", "sensmail-collector-names"
_LEAST = 32  # bytes


class SettingsError(Exception):
    """The collector cannot start. The text names what is missing and the fix."""


def key() -> bytes:
    """The key of digests of unknown names.

    Raises:
        SettingsError: there is none, or it is too short.
    """
    directory = os.environ.get(DIRECTORY)
    if not directory:
        raise SettingsError(f"${DIRECTORY} is not set: start this as unit sensmail-collector.service")
    path = Path(directory) / CREDENTIAL
    try:
        found = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; run role collector again, it makes the key") from error
    if len(found) < _LEAST:
        raise SettingsError(f"{path}: holds less than {_LEAST} bytes; remove it, and run role collector again")
    return found


def host(path: Path = MACHINE_ID) -> str:
    """Which host this is, machine-id(5).

    Raises:
        SettingsError: it has no id.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); see machine-id(5)") from error
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise SettingsError(f"{path}: holds no machine id; see systemd-machine-id-setup(1)")
    return text
