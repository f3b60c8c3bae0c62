"""Where the database is: defaults for one host, `/etc/sensmail/engine.toml` for anything else."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from sensmail.store.errors import StoreError

SETTINGS_PATH = Path("/etc/sensmail/engine.toml")


@dataclass(frozen=True)
class Settings:
    """How to reach the engine's database.

    `host` is a directory (a Unix socket, authenticated by peer) or a name (TCP, TLS with full verification).
    """

    host: str = "/run/postgresql"
    port: int = 5432
    name: str = "sensmail"
    ca: str = "/etc/sensmail/tls/ca.pem"

    @property
    def local(self) -> bool:
        """Whether the database is reached through a socket on this host."""
        return self.host.startswith("/")


def load(path: Path | None = None) -> Settings:
    """Read the `[database]` table of `path` (default: SETTINGS_PATH); a missing file means the defaults.

    Raises:
        StoreError: the file is not TOML, or holds a key or a type that is not known.
    """
    path = path or SETTINGS_PATH
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: not valid TOML ({error}); run role engine again, it writes this file") from error
    return _typed(path, document)


def _typed(path: Path, document: dict[str, object]) -> Settings:
    table = document.pop("database", {})
    if document or not isinstance(table, dict):
        raise StoreError(f"{path}: only a [database] table is known here, found {sorted(document) or 'database = …'}")
    known = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    for key, value in table.items():
        if key not in known:
            raise StoreError(f"{path}: database.{key} is not known; known keys: {', '.join(known)}")
        if type(value) is not known[key]:
            raise StoreError(f"{path}: database.{key} = {value!r} must be of type {known[key].__name__}")
    return Settings(**table)
