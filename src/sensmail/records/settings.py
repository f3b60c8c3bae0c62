"""What the sealer reads at its start: `/etc/sensmail/records.toml`, written by role `records`. It holds no secret."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from sensmail.records.errors import RecordsError

PATH = Path("/etc/sensmail/records.toml")
DIRECTORY = Path("/var/lib/sensmail-sealer")


class SettingsError(RecordsError):
    """The settings file is missing or wrong."""


@dataclass(frozen=True)
class Settings:
    """The name of the log, as its origins begin with it; and the directory of the signing keys."""

    log: str
    directory: Path = DIRECTORY


def load(path: Path | None = None) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: missing, not TOML, or with a key or a type that is not known.
    """
    path = path or PATH
    fix = "run role records again, it writes this file"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); {fix}") from error
    log, directory = table.pop("log", None), table.pop("directory", str(DIRECTORY))
    if table:
        raise SettingsError(f"{path}: {', '.join(sorted(table))} is not known; known are log, directory")
    if not isinstance(log, str) or not isinstance(directory, str) or not directory.startswith("/"):
        raise SettingsError(f"{path}: log must be a name such as mail.example.go.kr/records, directory a path; {fix}")
    return Settings(log, Path(directory))
