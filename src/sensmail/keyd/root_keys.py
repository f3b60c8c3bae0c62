"""Which root keys this host has in use: `/etc/sensmail/keyd-roots.json`, written by root when it makes or changes one.

`[root]` of keyd.toml says which root is wanted. What wraps the key file now stands here, so that other settings alone
never leave a key file that nothing opens: they take effect with the root change. It holds no secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from sensmail.keys import Root
from sensmail.keys.errors import SettingsError
from sensmail.keys.known import KnownRoot
from sensmail.keys.provider import make_roots

PATH = Path("/etc/sensmail/keyd-roots.json")


class RootInUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One root key: its identity (32 hexadecimal digits), and the table of `keys.provider.make_roots` for it alone."""

    identity: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    table: dict[str, Any]

    @property
    def provider(self) -> str:
        """The word of the settings."""
        return str(self.table.get("provider"))

    def open(self, credentials: Path) -> Root:
        """The root itself. Raises SettingsError."""
        (root,) = make_roots(self.table, credentials)
        return KnownRoot(root, bytes.fromhex(self.identity))


def read(path: Path = PATH) -> list[RootInUse]:
    """Oldest to newest; none where the host remembers none.

    Raises:
        SettingsError: not readable.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[RootInUse])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        fix = "it says which root key is in use: bring it back from a backup of /etc, or remove it if keyd.toml does"
        raise SettingsError(f"{path}: {error}; {fix}") from error


def encode(roots: Sequence[RootInUse]) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(roots)) + b"\n"
