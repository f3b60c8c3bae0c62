"""What the key service reads at its start: `/etc/sensmail/keyd.toml`, written by role `keys`. It holds no secret."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensmail.keyd import policy, root_keys
from sensmail.keyd.protocol import SOCKET
from sensmail.keys import Root
from sensmail.keys.errors import SettingsError
from sensmail.keys.provider import make_roots

PATH = Path("/etc/sensmail/keyd.toml")
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5): where the unit finds its credentials
_KNOWN = {"places", "lost", "root", "socket", "policy"}


@dataclass(frozen=True)
class Settings:
    """Where everything is.

    Attributes:
        places: directories of the key file; the first leads.
        lost: directories of places that were destroyed physically.
        root: the table of `keys.provider.make_roots`: which root is wanted.
        in_use: which root keys there are; none on a host that has made no key file yet.
        socket: where to listen when systemd does not hand the socket over.
        policy: what callers may do.
    """

    places: tuple[Path, ...]
    root: Mapping[str, Any]
    lost: tuple[Path, ...] = ()
    in_use: tuple[root_keys.RootInUse, ...] = ()
    socket: Path = SOCKET
    policy: Path = policy.PATH

    def roots(self) -> list[Root]:
        """The root keys in use, oldest to newest, else the wanted ones; credentials lie in $CREDENTIALS_DIRECTORY.

        Raises:
            SettingsError: unknown provider or setting, or a credential is missing.
        """
        directory = credentials()
        if self.in_use:
            return [each.open(directory) for each in self.in_use]
        return make_roots(self.root, directory)


def credentials() -> Path:
    """Where this unit finds its credentials. Raises SettingsError."""
    directory = os.environ.get(CREDENTIALS)
    if not directory:
        raise SettingsError(f"${CREDENTIALS} is not set: start this as a unit of systemd with its credentials")
    return Path(directory)


def load(path: Path = PATH) -> Settings:
    """Read the settings, and beside them which root keys are in use.

    Raises:
        SettingsError: missing, not TOML, or with a key or a type that is not known.
    """
    fix = "run role keys again, it writes this file"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); {fix}") from error
    if unknown := sorted(table.keys() - _KNOWN):
        raise SettingsError(f"{path}: {', '.join(unknown)} is not known; known are {', '.join(sorted(_KNOWN))}")
    root = table.get("root", {})
    if not isinstance(root, dict):
        raise SettingsError(f"{path}: root must be a table [root]; {fix}")
    return Settings(
        places=_paths(path, "places", table.get("places")),
        lost=_paths(path, "lost", table.get("lost", [])),
        root=root,
        in_use=tuple(root_keys.read(path.with_name(root_keys.PATH.name))),
        socket=_paths(path, "socket", [table.get("socket", str(SOCKET))])[0],
        policy=_paths(path, "policy", [table.get("policy", str(policy.PATH))])[0],
    )


def _paths(path: Path, name: str, value: object) -> tuple[Path, ...]:
    found = value if isinstance(value, list) else []
    texts = [each for each in found if isinstance(each, str) and each.startswith("/")]
    if texts != value:
        raise SettingsError(
            f"{path}: {name} = {value!r} must be absolute paths, for example /var/lib/sensmail-keyd/ring"
        )
    return tuple(Path(each) for each in texts)
