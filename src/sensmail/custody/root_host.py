"""The host of a root change: what it remembers, its credentials, and the unit that reaches the providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensmail.custody import credentials, host, notes
from sensmail.custody.host import UnitFailed
from sensmail.custody.root_change import RootChangeError, Table
from sensmail.custody.root_key import Request
from sensmail.keyd import root_keys, settings
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.root_keys import RootInUse
from sensmail.keys import KeyFailure

_NEW = "set keys_root_provider, or another label or key tag of its settings, run site.yml, and repeat"
_DO_NOT_RESTART = (
    "The key service goes on with what it has in memory: do not restart it. Bring this root back, or copy a place, and "
    "let two officers recover it on a new host (docs/keys.md)"
)


class RootHost:
    """See `root_change.Host`."""

    def __init__(self, configuration: Path = settings.PATH, directory: Path = credentials.DIRECTORY) -> None:
        """`directory` of the root credentials."""
        self._configuration, self._directory = configuration, directory

    @property
    def _note(self) -> Path:
        return self._configuration.with_name(root_keys.PATH.name)

    def in_use(self) -> list[RootInUse]:
        """What the note says."""
        try:
            return root_keys.read(self._note)
        except KeyFailure as failure:
            raise RootChangeError(str(failure)) from failure

    def wanted(self, old: RootInUse) -> dict[str, Any]:
        """What `[root]` of keyd.toml says; for provider `file` the next generation."""
        try:
            table = settings.load(self._configuration).root
        except KeyFailure as failure:
            raise RootChangeError(str(failure)) from failure
        if not table.get("provider"):
            raise RootChangeError(f"{self._configuration}: [root] names no provider; {_NEW}")
        if table["provider"] == "file":
            return file_table(max(self._generations(), default=0) + 1)
        if dict(table) == old.table:
            raise RootChangeError(f"{self._configuration}: [root] is the root in use; {_NEW}")
        return dict(table)

    def remember(self, roots: list[RootInUse]) -> None:
        """Write the note."""
        try:
            notes.write(self._note, root_keys.encode(roots), 0o644)
        except OSError as error:
            raise RootChangeError(f"{self._note}: {error.strerror}; repair, and repeat") from error

    def prepare(self, table: Table) -> str:
        """Make it: a credential here, a key in a token there; a key of the KMS is made in its console."""
        if table["provider"] == "file":
            generation = _generation(table)
            try:
                if generation not in self._generations():
                    host.make_root(generation)
            except UnitFailed as failure:
                raise RootChangeError(f"{failure}; the old root is kept") from failure
        try:
            return host.run_root_key(Request("prepare", dict(table))).identity
        except UnitFailed as failure:
            raise RootChangeError(f"the new root cannot be used, the old one is kept: {failure}") from failure

    def prove(self, root: RootInUse) -> None:
        """By the unit, which starts as the service would."""
        try:
            host.run_root_key(Request("prove", root.table, root.identity))
        except UnitFailed as failure:
            raise RootChangeError(f"the root in use does not answer: {failure}. {_DO_NOT_RESTART}") from failure

    def destroy(self, root: RootInUse) -> str:
        """By its provider. An encrypted credential is overwritten here."""
        if root.provider == "file":
            generation = _generation(root.table)
            try:
                credentials.sweep(self._directory)  # completes one that was cut off
                if generation in self._generations():
                    credentials.destroy_root(generation, self._directory)
            except KeyFailure as failure:
                raise RootChangeError(f"the old root is not destroyed: {failure}; repeat") from failure
            return credentials.DESTRUCTION.name
        try:
            return host.run_root_key(Request("destroy", root.table, root.identity)).destruction
        except UnitFailed as failure:
            text = "wraps nothing any more, but is not destroyed"
            raise RootChangeError(f"the old root {text}: {failure}. Repeat when its provider answers") from failure

    def restart(self) -> None:
        """Returns when the service answers."""
        host.restart()

    def _generations(self) -> list[int]:
        try:
            return credentials.generations(self._directory)
        except KeyFailure as failure:
            raise KeyServiceError(str(failure)) from failure


def file_table(generation: int) -> dict[str, Any]:
    """The settings of one root credential."""
    return {"provider": "file", "credential": f"{credentials.PREFIX}{generation}"}


def _generation(table: Table) -> int:
    return int(str(table["credential"]).removeprefix(credentials.PREFIX))
