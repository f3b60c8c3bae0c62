# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases of the engine on a host: one virtual environment a digest, two symbolic links, nothing half done.

    /opt/sensmail/releases/<digest>/           the environment; `.complete` is written last and holds the digest
    /opt/sensmail/current -> releases/<digest> flipped by rename, so that it always points at a complete release
    /opt/sensmail/previous -> releases/<digest> what `current` was before, for the way back

An environment holds its own path in its scripts, so it is built where it stays; without `.complete` it is none.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MARKER = ".complete"
PIP_WHEELS = "/usr/share/python-wheels/pip-*.whl"
REQUIREMENTS = "requirements.txt"


class ReleaseError(Exception):
    """The release cannot be installed; the text says why and what to do."""


@dataclass(frozen=True)
class State:
    """What is installed. Digests, or None; `strays` are directories that neither link names."""

    current: str | None
    previous: str | None
    complete: frozenset[str]
    strays: tuple[str, ...]
    linked: bool


def _unpack(archive: str, directory: str) -> None:
    """Plain files at the top only: `extractall` has no filter yet in Python 3.11.2."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = (
                tar.extractfile(member) if member.isfile() and os.path.basename(member.name) == member.name else None
            )
            if content is None:
                raise ReleaseError(f"{archive} holds {member.name!r}, which is no plain file at its top")
            with open(os.path.join(directory, member.name), "wb") as file:
                shutil.copyfileobj(content, file)


class ReleaseStore:
    """The releases below one directory."""

    def __init__(self, root: str, command: str, python: str) -> None:
        self._root = root
        self._releases = os.path.join(root, "releases")
        self._command = command
        self._python = python

    def state(self) -> State:
        """Read, change nothing."""
        names = sorted(os.listdir(self._releases)) if os.path.isdir(self._releases) else []
        current, previous = self._target("current"), self._target("previous")
        return State(
            current=current,
            previous=previous,
            complete=frozenset(name for name in names if self._is_complete(name)),
            strays=tuple(name for name in names if name not in (current, previous)),
            linked=os.path.islink(self._command) and os.readlink(self._command) == self._launcher(),
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One installer at a time, whose files everybody may read; the lock goes with the process."""
        mask = os.umask(0o022)
        try:
            with self._locked():
                yield
        finally:
            os.umask(mask)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        os.makedirs(self._releases, mode=0o755, exist_ok=True)
        with open(os.path.join(self._root, ".lock"), "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReleaseError(
                    f"another installation is at work below {self._root}; run again when it has ended"
                ) from None
            yield

    def install(self, digest: str, archive: str) -> None:
        """Build the environment of a release from an archive of wheels and their locked requirements.

        Raises:
            ReleaseError: no pip on the host, or pip refuses a wheel.
        """
        path = os.path.join(self._releases, digest)
        shutil.rmtree(path, ignore_errors=True)
        wheels = os.path.join(path, ".wheels")
        os.makedirs(wheels, mode=0o700)
        _unpack(archive, wheels)
        self._run([self._python, "-m", "venv", "--without-pip", path])
        python = os.path.join(path, "bin", "python")
        offline = ["--no-index", "--find-links", wheels, "--require-hashes", "--no-deps", "--no-compile"]
        quiet = ["--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"]
        self._run([python, "-I", f"{self._pip()}/pip", "install", *quiet, *offline, "-r", f"{wheels}/{REQUIREMENTS}"])
        shutil.rmtree(wheels)
        self._run([python, "-I", "-m", "compileall", "-q", os.path.join(path, "lib")])
        self._seal(path, digest)

    def activate(self, digest: str) -> None:
        """Make a complete release the current one and remove all but the one before it."""
        state = self.state()
        if state.current != digest:
            if state.current in state.complete:
                self._link(os.path.join(self._root, "previous"), f"releases/{state.current}")
            self._link(os.path.join(self._root, "current"), f"releases/{digest}")
        if not state.linked:
            self._link(self._command, self._launcher())
        for name in self.state().strays:
            shutil.rmtree(os.path.join(self._releases, name))

    def _launcher(self) -> str:
        return os.path.join(self._root, "current", "bin", "sensmail")

    def _is_complete(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self._releases, name, MARKER))

    def _target(self, link: str) -> str | None:
        path = os.path.join(self._root, link)
        return os.path.basename(os.readlink(path)) if os.path.islink(path) else None

    @staticmethod
    def _link(path: str, target: str) -> None:
        fresh = f"{path}.new"
        if os.path.lexists(fresh):
            os.unlink(fresh)
        os.symlink(target, fresh)
        os.replace(fresh, path)

    @staticmethod
    def _pip() -> str:
        found = sorted(glob.glob(PIP_WHEELS))
        if not found:
            raise ReleaseError(f"no pip at {PIP_WHEELS}: install the package python3-pip-whl (role engine does)")
        return found[-1]

    @staticmethod
    def _seal(path: str, digest: str) -> None:
        """Everything is on the disk before the marker says so."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.sync()
            marker = os.path.join(path, MARKER)
            with open(marker, "w", encoding="ascii") as file:
                file.write(digest + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _run(command: list[str]) -> None:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReleaseError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
