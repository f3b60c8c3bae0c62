# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hands of host_files: look at a host, take the steps of a plan.

Every path is walked from the root one directory at a time and no symbolic link is followed, so that whoever may write
into a directory on the way cannot lead root elsewhere. Files appear whole or not at all, also when the power fails.
"""

from __future__ import annotations

import errno
import grp
import os
import posixpath
import pwd
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ansible_collections.sensmail.cloud.plugins.module_utils.file_accounts import Accounts
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import (
    ABSENT,
    Attrs,
    Found,
    HostFilesError,
    Wanted,
    digest,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Step

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@contextmanager
def opened_parent(path: str) -> Iterator[tuple[int, str]]:
    """Open the directory that holds `path`; yields its descriptor and the last part of the name.

    Raises:
        OSError: a directory on the way is missing, or is not a directory (a link is not one either).
    """
    *above, name = path.strip("/").split("/")
    fd = os.open("/", DIRECTORY)
    try:
        for part in above:
            below = os.open(part, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd, name
    finally:
        os.close(fd)


def look(path: str) -> Found:
    """What stands at `path` now. Behind a link, or a file, nothing does.

    Raises:
        OSError: the path cannot be read.
    """
    try:
        with opened_parent(path) as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            attrs = Attrs(user_name(status.st_uid), group_name(status.st_gid), f"{stat.S_IMODE(status.st_mode):04o}")
            if stat.S_ISLNK(status.st_mode):
                return Found("link", attrs, target=os.readlink(name, dir_fd=parent))
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                return Found("other", attrs)
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            if stat.S_ISDIR(status.st_mode):
                try:
                    names = os.listdir(fd)  # Path cannot list a descriptor
                    return Found("directory", attrs, children=frozenset(names))
                finally:
                    os.close(fd)
            with os.fdopen(fd, "rb") as file:
                return Found("file", attrs, file.read())
    except OSError as error:
        if error.errno in NOT_THERE:
            return ABSENT
        raise


def user_name(uid: int) -> str:
    """Name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Name of a group, or the number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def canonical(attrs: Attrs) -> Attrs:
    """Numbers that have a name are written as the name, so that they compare equal to what is found."""
    owner = user_name(int(attrs.owner)) if attrs.owner.isdecimal() else attrs.owner
    group = group_name(int(attrs.group)) if attrs.group.isdecimal() else attrs.group
    return Attrs(owner, group, attrs.mode)


def known_accounts() -> Accounts:
    """Users and groups of this host."""
    groups = grp.getgrall()
    return Accounts(
        frozenset(user.pw_name for user in pwd.getpwall()),
        frozenset(group.gr_name for group in groups),
        frozenset((member, group.gr_name) for group in groups for member in group.gr_mem),
    )


def refuse_unknown_owners(wanted: Wanted, accounts: Accounts) -> None:
    """Check every owner and group before anything is written.

    Raises:
        HostFilesError: a wanted owner or group is not among `accounts`.
    """
    owned = {**{path: file.attrs for path, file in wanted.files.items()}, **wanted.directories}
    for path, attrs in sorted(owned.items()):
        for what, name, known in (("owner", attrs.owner, accounts.users), ("group", attrs.group, accounts.groups)):
            if name not in known and not name.isdecimal():
                raise HostFilesError(
                    f"{what} {name!r} of {path} is not on this host: install the package that makes it,"
                    " or put a file for it under /etc/sysusers.d in the same templates tree"
                )


class Hands:
    """Takes steps on the file system that this process sees."""

    def __init__(self, lenient: bool = False) -> None:
        """Args: lenient: an unknown owner becomes root; only for a preview in check mode, on a host not yet set up."""
        self._lenient = lenient

    def take(self, steps: Iterable[Step]) -> None:
        """Take the steps in order, except for keeping originals, which is the store's.

        Raises:
            HostFilesError: a step failed; those before it are done.
        """
        for step in steps:
            try:
                self._take_one(step)
            except OSError as error:
                raise HostFilesError(
                    f"{step.action} {step.path}: {error.strerror or error}. What came before it is done; mend the cause"
                    " and run again, which completes it"
                ) from error

    def _take_one(self, step: Step) -> None:
        match step.action:
            case "mkdir":
                self.mkdir(step.path, step.after.attrs)
            case "write" | "restore":
                self.put(step.path, step.after)
            case "attrs":
                self.set_attrs(step.path, step.after)
            case "accounts":
                make_accounts()
            case "delete" | "rmdir":
                remove(step.path)

    def put(self, path: str, what: Found) -> None:
        """Put a file or a link at `path` in one act: written beside it, flushed to the disk, then renamed over it."""
        with opened_parent(path) as (parent, name):
            new = temporary_name(name)
            _unlink_if_there(new, parent)
            try:
                self._write(new, parent, what)
                os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                _unlink_if_there(new, parent)
                raise
            os.fsync(parent)

    def _write(self, name: str, parent: int, what: Found) -> None:
        if what.kind == "link":
            os.symlink(what.target, name, dir_fd=parent)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
            file.write(what.content)
            self._own(file.fileno(), what.attrs)
            file.flush()
            os.fsync(file.fileno())

    def make_private_directory(self, path: str) -> None:
        """Make a directory that only root may enter, and those above it that are missing."""
        missing = []
        while look(path).kind == "absent":
            missing.append(path)
            path = posixpath.dirname(path)
        for index, directory in enumerate(reversed(missing), 1):
            # those above may later hold what others read; only the last one is ours alone
            self.mkdir(directory, Attrs(mode="0700" if index == len(missing) else "0755"))

    def mkdir(self, path: str, attrs: Attrs) -> None:
        """Make one directory. It is closed to others until it belongs to its owner."""
        with opened_parent(path) as (parent, name):
            os.mkdir(name, 0o700, dir_fd=parent)
            fd = os.open(name, DIRECTORY, dir_fd=parent)
            try:
                self._own(fd, attrs)
            finally:
                os.close(fd)
            os.fsync(parent)

    def set_attrs(self, path: str, what: Found) -> None:
        """Set owner, group and mode of a file or directory."""
        with opened_parent(path) as (parent, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            try:
                self._own(fd, what.attrs)
                os.fsync(fd)
            finally:
                os.close(fd)

    def _own(self, fd: int, attrs: Attrs) -> None:
        os.fchown(fd, self._uid(attrs.owner), self._gid(attrs.group))
        os.fchmod(fd, int(attrs.mode, 8))  # after chown, which clears set-id bits

    def _uid(self, owner: str) -> int:
        try:
            return pwd.getpwnam(owner).pw_uid
        except KeyError:
            if owner.isdecimal() or self._lenient:
                return int(owner) if owner.isdecimal() else 0
            raise HostFilesError(f"user {owner!r} is not on this host") from None

    def _gid(self, group: str) -> int:
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            if group.isdecimal() or self._lenient:
                return int(group) if group.isdecimal() else 0
            raise HostFilesError(f"group {group!r} is not on this host") from None


def make_accounts() -> None:
    """Make the accounts that the files under sysusers.d name. Idempotent.

    Raises:
        HostFilesError: systemd-sysusers is missing or failed.
    """
    try:
        done = subprocess.run(
            ["systemd-sysusers"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise HostFilesError("systemd-sysusers is not on this host: it makes the accounts of /etc/sysusers.d") from None
    if done.returncode:
        raise HostFilesError(f"systemd-sysusers ended with {done.returncode}:\n{done.stdout.strip()}")


def remove(path: str) -> None:
    """Remove a file, a link or an empty directory; one that is gone already, or filled meanwhile, is left alone."""
    try:
        with opened_parent(path) as (parent, name):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)
            os.fsync(parent)
    except OSError as error:
        if error.errno not in (*NOT_THERE, errno.ENOTEMPTY, errno.EEXIST):
            raise


def temporary_name(name: str) -> str:
    """The name under which the new `name` is written. Always the same, so that one left by a killed run is found."""
    return f".sensmail-{digest(name.encode(errors='surrogateescape'))[:24]}"


def sweep(paths: Iterable[str], found: dict[str, Found], check_mode: bool) -> None:
    """Remove, here and from `found`, the unfinished files that a killed run left beside any of `paths`."""
    for path in paths:
        above, name = posixpath.split(path)
        unfinished, directory = temporary_name(name), found.get(above, ABSENT)
        if unfinished in directory.children:
            if not check_mode:
                remove(posixpath.join(above, unfinished))
            found[above] = replace(directory, children=directory.children - {unfinished})


def _unlink_if_there(name: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
