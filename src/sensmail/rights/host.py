"""Accounts of a host as its files say, programs that change them, and files that are replaced in one act."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sensmail.rights.errors import NotApplied

_FIRST, _LAST = 1000, 59999  # login.defs(5): UID_MIN, and the last before those of systemd; below are system accounts
_RUN_S = 60


@dataclass(frozen=True)
class Account:
    """One line of /etc/passwd, with password field and day of expiry (days since 1970) of /etc/shadow."""

    name: str
    uid: int
    gid: int
    home: str
    password: str
    expires: int | None

    @property
    def personal(self) -> bool:
        """Whether its number is that of a person's account."""
        return _FIRST <= self.uid <= _LAST

    @property
    def opens_by_password(self) -> bool:
        """Whether some password opens it: shadow(5), a hash holds none of ! and *; an empty field asks for none."""
        return not self.password.startswith(("!", "*"))


@dataclass(frozen=True)
class Host:
    """A host's accounts. `root` is / but for a tree that is prepared elsewhere."""

    name: str
    root: Path = Path("/")

    def accounts(self) -> dict[str, Account]:
        """Every account of the files, by name."""
        shadow = {line[0]: line for line in self._table("shadow")}
        found = {}
        for name, _, uid, gid, _, home, *_ in self._table("passwd"):
            line = shadow.get(name, [name, "", *[""] * 7])
            expires = int(line[7]) if line[7] else None
            found[name] = Account(name, int(uid), int(gid), home, line[1], expires)
        return found

    def members(self, group: str) -> set[str]:
        """Accounts in a group, also by their first group."""
        for name, _, gid, listed, *_ in self._table("group"):
            if name == group:
                first = {each.name for each in self.accounts().values() if str(each.gid) == gid}
                return first | set(filter(None, listed.split(",")))
        return set()

    def _table(self, name: str) -> list[list[str]]:
        text = (self.root / "etc" / name).read_text(encoding="utf-8", errors="surrogateescape")
        return [line.split(":") for line in text.splitlines() if line.strip() and not line.startswith(("#", "+", "-"))]

    def change(self, program: str, *arguments: str) -> None:
        """Call useradd or usermod. Raises NotApplied."""
        prefix = () if self.root == Path("/") else ("--prefix", str(self.root))
        run([program, *prefix, *arguments])


def run(command: Sequence[str]) -> str:
    """Run a program and return its output. Raises NotApplied with its words."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_RUN_S, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotApplied(f"{command[0]}: {error}; is its package installed? role rights does that") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().replace("\n", " | ")
        raise NotApplied(f"{command[0]} ended with {done.returncode}: {words}")
    return done.stdout


def replace(path: Path, text: str, mode: int) -> None:
    """Write a file of root so that a reader sees the old or the new one, also after a power cut. Raises NotApplied."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise NotApplied(f"{path}: {error.strerror}; role rights makes its directory") from error


def drop(path: Path) -> None:
    """Remove a file for good; one that is not there is removed. Raises NotApplied."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync(path.parent)
    except OSError as error:
        raise NotApplied(f"{path}: {error.strerror}") from error


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_plain(path: Path, limit: int = 1 << 20) -> str | None:
    """A file's text; None when there is none. A link, a pipe or a huge file of a user is not followed or waited for.

    Raises:
        OSError: it is no plain file, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
            raise OSError(f"{path} is no plain file of at most {limit} bytes")
        return file.read(limit).decode("utf-8", errors="replace")
