# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where host_files remembers, on the host, what belongs to whom and what stood there before."""

from __future__ import annotations

import fcntl
import os
import posixpath
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ansible_collections.sensmail.cloud.plugins.module_utils.file_host import Hands, look, opened_parent, remove
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import (
    Attrs,
    Found,
    HostFilesError,
    Manifest,
    Wanted,
    parents,
)

PRIVATE_FILE = Attrs(mode="0640")
LOCK_WAIT_S = 30  # a run whose connection broke ends within seconds


class Store:
    """Manifests (one file a claim) and kept originals (a tree) below two directories of the host."""

    def __init__(self, manifests: str, originals: str) -> None:
        """Args: manifests, originals: absolute paths; both are made when first written to."""
        self._manifests = manifests
        self._originals = originals
        self._hands = Hands()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time changes this host.

        Raises:
            HostFilesError: another run holds the lock for longer than LOCK_WAIT_S seconds.
        """
        self._hands.make_private_directory(self._manifests)
        with opened_parent(self._manifests + "/.lock") as (parent, name):
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            _wait_for(fd, f"{self._manifests}/.lock")
            yield
        finally:
            os.close(fd)

    def load(self) -> dict[str, Manifest]:
        """Every manifest of the host, by claim.

        Raises:
            HostFilesError: one of them is unreadable.
        """
        result = {}
        for name in sorted(look(self._manifests).children):
            if name.endswith(".json") and not name.startswith("."):
                where = posixpath.join(self._manifests, name)
                manifest = Manifest.from_json(look(where).content, where)
                result[manifest.claim] = manifest
        return result

    def save(self, manifest: Manifest) -> None:
        """Replace the manifest of a claim; one that owns nothing is removed."""
        path = posixpath.join(self._manifests, manifest.claim + ".json")
        if not manifest.files and not manifest.directories:
            remove(path)
            return
        new = Found("file", PRIVATE_FILE, manifest.to_json())
        if look(path) != new:
            self._hands.make_private_directory(self._manifests)
            self._hands.put(path, new)

    def originals(self, paths: Iterable[str]) -> dict[str, Found]:
        """The kept originals of these paths."""
        kept = {path: look(self._originals + path) for path in paths}
        return {path: found for path, found in kept.items() if found.kind in ("file", "link")}

    def keep(self, path: str, what: Found) -> None:
        """Keep a copy of what stands at `path`."""
        self._hands.make_private_directory(self._originals)
        self._hands.make_private_directory(posixpath.dirname(self._originals + path))
        self._hands.put(self._originals + path, what)

    def drop_original(self, path: str) -> None:
        """Forget a kept original, and the directories that held nothing else."""
        remove(self._originals + path)
        for directory in parents(self._originals + path):
            if not directory.startswith(self._originals + "/"):
                break
            remove(directory)

    def refuse_own(self, wanted: Wanted) -> None:
        """What host_files remembers is not itself managed by it.

        Raises:
            HostFilesError: a wanted path lies in one of the two directories.
        """
        for path in (*wanted.files, *wanted.directories):
            for own in (self._manifests, self._originals):
                if path == own or path.startswith(own + "/"):
                    raise HostFilesError(
                        f"{path} lies in {own}, where host_files keeps its own memory: choose another place"
                    )


def _wait_for(fd: int, where: str) -> None:
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise HostFilesError(
                    f"another run changes the files of this host and has held {where} for {LOCK_WAIT_S} s:"
                    " wait for it to end, then run again"
                ) from None
            time.sleep(0.2)
