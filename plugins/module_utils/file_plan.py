# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of host_files: from what is wanted, found and owned to the steps that are left to do. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ansible_collections.sensmail.cloud.plugins.module_utils.file_accounts import Accounts, declared, is_sysusers
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import (
    ABSENT,
    IMPLIED_PARENT,
    Attrs,
    Found,
    HostFilesError,
    Manifest,
    OwnedDirectory,
    OwnedFile,
    Wanted,
    digest,
    parents,
)

Action = Literal["keep", "mkdir", "write", "attrs", "accounts", "delete", "restore", "rmdir"]


@dataclass(frozen=True)
class Step:
    """One act on one path.

    keep: copy what stood at the path before we first took it. restore: put that copy back. accounts: systemd-sysusers.
    """

    action: Action
    path: str
    before: Found = ABSENT
    after: Found = ABSENT
    secret: bool = False
    was_secret: bool = False


@dataclass(frozen=True)
class Plan:
    """Steps in the order to take them, and the manifest that is true when all of them are done."""

    steps: tuple[Step, ...]
    manifest: Manifest
    old: Manifest

    @property
    def changed(self) -> bool:
        """True when the host, or what we remember of it, would be different afterwards."""
        return bool(self.steps) or self.manifest != self.old

    @property
    def union(self) -> Manifest:
        """Old and new together: on disk while the steps are taken, so that an interrupted run forgets nothing."""
        return Manifest(
            self.manifest.claim,
            {**self.old.files, **self.manifest.files},
            {**self.old.directories, **self.manifest.directories},
        )

    @property
    def touched(self) -> tuple[str, ...]:
        """Paths that will be different, except for what we only keep a copy of."""
        return tuple(step.path for step in self.steps if step.action not in ("keep", "accounts"))


def refuse_conflicts(wanted: Wanted, others: Iterable[Manifest]) -> None:
    """Two claims never own one path.

    Raises:
        HostFilesError: another claim owns a wanted file, or a wanted directory with other attributes.
    """
    for other in others:
        if both := sorted(
            (wanted.files.keys() & other.files.keys()) | (wanted.files.keys() & other.directories.keys())
        ):
            raise HostFilesError(
                f"{both[0]} is wanted by {wanted.claim} but belongs to {other.claim}: leave it to one of the two."
                f" If it moved, run {other.claim} first, so that it lets go of the path"
            )
        for path in sorted(wanted.directories.keys() & other.directories.keys()):
            theirs, ours = other.directories[path].attrs, wanted.directories[path]
            if theirs != ours:
                raise HostFilesError(
                    f"directory {path} is wanted as {ours} by {wanted.claim} and as {theirs} by {other.claim}:"
                    " give it the same owner, group and mode in both"
                )


def make_plan(
    wanted: Wanted,
    old: Manifest,
    found: Mapping[str, Found],
    originals: Mapping[str, Found],
    accounts: Accounts,
) -> Plan:
    """Compare and decide.

    Args:
        wanted: the desired set.
        old: what the claim owned after its last run (or at any moment of an interrupted one).
        found: what stands at every wanted path, every owned path and all their parents; absent ones may be missing.
        originals: copies kept of files that were there before us, by path.
        accounts: users and groups of the host.

    Raises:
        HostFilesError: a wanted path, or a parent of one, is something that we must not replace.
    """
    directories = list(_directory_steps(wanted, found))
    files = list(_file_steps(wanted, old, found, originals))
    removals = list(_removal_steps(wanted, old, found, originals))
    keeps = [step for step in files if step.action == "keep"]
    first: list[Step] = []
    rest: list[Step] = []
    for step in sorted(directories + [step for step in files if step.action != "keep"], key=lambda step: step.path):
        early = is_sysusers(step.path) or (step.action == "mkdir" and _leads_to_sysusers(step.path, wanted))
        (first if early else rest).append(step)
    if any(step.action == "write" for step in first) or declared(wanted.files).missing_from(accounts):
        first.append(Step("accounts", "/etc/passwd"))
    steps = (*keeps, *first, *rest, *removals, *_rmdir_steps(wanted, old, found, removals))
    return Plan(steps, _next_manifest(wanted, old, found), old)


def _leads_to_sysusers(path: str, wanted: Wanted) -> bool:
    return any(is_sysusers(file) and file.startswith(path + "/") for file in wanted.files)


def _implied_parents(wanted: Wanted, found: Mapping[str, Found]) -> set[str]:
    """Parents that are neither listed nor there.

    Raises:
        HostFilesError: a parent is not a directory; a symbolic link would give one file two names.
    """
    missing = set()
    for path in (*wanted.files, *wanted.directories):
        for parent in parents(path):
            stands = found.get(parent, ABSENT)
            if parent in wanted.files:
                raise HostFilesError(
                    f"{parent} is wanted as a file and, for {path}, as a directory: rename one of them"
                )
            if stands.kind == "link":
                raise HostFilesError(
                    f"{path} lies behind the symbolic link {parent} -> {stands.target}: write the path without the link"
                )
            if stands.kind in ("file", "other"):
                raise HostFilesError(
                    f"{path} needs the directory {parent}, but a {_name(stands)} stands there: move it away"
                )
            if stands.kind == "absent" and parent not in wanted.directories:
                missing.add(parent)
    return missing


def _name(found: Found) -> str:
    kind: str = found.kind
    return {"other": "device, socket or pipe", "link": "symbolic link"}.get(kind, kind)


def _directory_steps(wanted: Wanted, found: Mapping[str, Found]) -> Iterator[Step]:
    for path in _implied_parents(wanted, found):
        yield Step("mkdir", path, ABSENT, Found("directory", IMPLIED_PARENT))
    for path, attrs in wanted.directories.items():
        stands = found.get(path, ABSENT)
        if path in wanted.files:
            raise HostFilesError(f"{path} is wanted as a file and as a directory: remove one of them")
        if stands.kind == "absent":
            yield Step("mkdir", path, stands, Found("directory", attrs))
        elif stands.kind != "directory":
            raise HostFilesError(f"{path} is wanted as a directory, but a {_name(stands)} stands there: move it away")
        elif stands.attrs != attrs:
            yield Step("attrs", path, stands, Found("directory", attrs))


def _file_steps(
    wanted: Wanted, old: Manifest, found: Mapping[str, Found], originals: Mapping[str, Found]
) -> Iterator[Step]:
    for path, file in wanted.files.items():
        stands = found.get(path, ABSENT)
        if stands.kind in ("directory", "other"):
            raise HostFilesError(f"{path} is wanted as a file, but a {_name(stands)} stands there: move it away")
        after = Found("file", file.attrs, file.content)
        was_secret = _was_secret(path, old, stands)
        if path not in old.files and path not in originals and stands.kind in ("file", "link"):
            yield Step("keep", path, stands, stands, file.secret, was_secret)
        if stands.kind != "file" or stands.content != file.content:
            yield Step("write", path, stands, after, file.secret, was_secret)
        elif stands.attrs != file.attrs:
            yield Step("attrs", path, stands, after, file.secret, was_secret)


def _was_secret(path: str, old: Manifest, stands: Found) -> bool:
    """A file that we do not know, and that not everybody may read, is not shown to whoever reads the diff."""
    if path in old.files:
        return bool(old.files[path].secret)
    return stands.kind == "file" and not int(stands.attrs.mode, 8) & 0o004


def _removal_steps(
    wanted: Wanted, old: Manifest, found: Mapping[str, Found], originals: Mapping[str, Found]
) -> Iterator[Step]:
    for path in sorted(old.files.keys() - wanted.files.keys(), reverse=True):
        stands = found.get(path, ABSENT)
        secret = old.files[path].secret
        if stands.kind in ("directory", "other"):
            continue  # somebody replaced our file by something that is not ours to remove
        if path in originals:
            hidden = secret or not int(originals[path].attrs.mode, 8) & 0o004
            yield Step("restore", path, stands, originals[path], hidden, secret)
        elif stands.kind != "absent":
            yield Step("delete", path, stands, ABSENT, secret, secret)


def _rmdir_steps(wanted: Wanted, old: Manifest, found: Mapping[str, Found], removals: Iterable[Step]) -> Iterator[Step]:
    """Directories that we created, that nothing needs any more, and that the removals leave empty; deepest first."""
    gone = {step.path for step in removals if step.action == "delete"}
    needed = _needed_directories(wanted)
    for path in sorted(old.directories, reverse=True):
        stands = found.get(path, ABSENT)
        if not old.directories[path].created or path in needed or stands.kind != "directory":
            continue
        if all(posixpath.join(path, child) in gone for child in stands.children):
            gone.add(path)
            yield Step("rmdir", path, stands, ABSENT)


def _needed_directories(wanted: Wanted) -> set[str]:
    above = {parent for path in (*wanted.files, *wanted.directories) for parent in parents(path)}
    return above | set(wanted.directories)


def _next_manifest(wanted: Wanted, old: Manifest, found: Mapping[str, Found]) -> Manifest:
    files = {path: OwnedFile(digest(file.content), file.attrs, file.secret) for path, file in wanted.files.items()}
    directories = {}
    for path in _needed_directories(wanted):
        was = old.directories.get(path)
        created = found.get(path, ABSENT).kind == "absent" or (was is not None and was.created)
        attrs: Attrs | None = wanted.directories.get(path)
        if attrs is not None:
            directories[path] = OwnedDirectory(attrs, created)
        elif created:  # a parent that nobody listed: remembered only for its removal
            directories[path] = OwnedDirectory(IMPLIED_PARENT, created)
    return Manifest(wanted.claim, files, directories)
