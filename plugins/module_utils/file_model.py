# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What host_files speaks about: wanted files, files found on a host, and the manifest of a claim.

Nothing here touches a host. Paths are absolute POSIX paths, modes four octal digits ("0640").
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MODE = re.compile(r"[0-7]{4}")
CLAIM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NOT_FILES = ("/proc", "/sys", "/dev")

Kind = Literal["absent", "file", "directory", "link", "other"]


class HostFilesError(Exception):
    """A wish that cannot be met. The message names the file, the value and what to do."""


@dataclass(frozen=True)
class Attrs:
    """Who owns a path and what may be done with it, by name, because names are what people write."""

    owner: str = "root"
    group: str = "root"
    mode: str = "0644"

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode}"


IMPLIED_PARENT = Attrs(mode="0755")


@dataclass(frozen=True)
class WantedFile:
    """One file of the desired set."""

    content: bytes
    attrs: Attrs = Attrs()
    secret: bool = False


@dataclass(frozen=True)
class Found:
    """What stands at a path: `content` for a file, `target` for a link, `children` for a directory."""

    kind: Kind = "absent"
    attrs: Attrs = Attrs()
    content: bytes = b""
    target: str = ""
    children: frozenset[str] = frozenset()


ABSENT = Found()


@dataclass(frozen=True)
class Wanted:
    """The whole desired set of one claim."""

    claim: str
    files: Mapping[str, WantedFile] = field(default_factory=dict)
    directories: Mapping[str, Attrs] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnedFile:
    """A file as the manifest remembers it."""

    sha256: str
    attrs: Attrs
    secret: bool = False


@dataclass(frozen=True)
class OwnedDirectory:
    """A directory as the manifest remembers it. Only one that we created is ever removed, and only when empty."""

    attrs: Attrs
    created: bool


@dataclass(frozen=True)
class Manifest:
    """What one claim (a role) owns on a host."""

    claim: str
    files: Mapping[str, OwnedFile] = field(default_factory=dict)
    directories: Mapping[str, OwnedDirectory] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The manifest as it lies on the host: sorted, so that equal manifests are equal bytes."""
        files = {
            path: {"sha256": f.sha256, **vars(f.attrs), **({"secret": True} if f.secret else {})}
            for path, f in self.files.items()
        }
        directories = {path: {**vars(d.attrs), "created": d.created} for path, d in self.directories.items()}
        document = {"claim": self.claim, "files": files, "directories": directories}
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Manifest:
        """Read a manifest.

        Raises:
            HostFilesError: `text`, read from the file `where`, is not a manifest.
        """
        try:
            raw = json.loads(text)
            return cls(
                claim=str(raw["claim"]),
                files={
                    path: OwnedFile(f["sha256"], _attrs(f), bool(f.get("secret", False)))
                    for path, f in raw["files"].items()
                },
                directories={
                    path: OwnedDirectory(_attrs(d), bool(d["created"])) for path, d in raw["directories"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HostFilesError(
                f"{where} is not a manifest of host_files ({type(error).__name__}: {error}). It is only ever replaced"
                " whole, so somebody edited it: restore it from a backup, or delete it, and nothing it owned is removed"
            ) from error


def _attrs(raw: Mapping[str, Any]) -> Attrs:
    return Attrs(owner=str(raw["owner"]), group=str(raw["group"]), mode=str(raw["mode"]))


def digest(content: bytes) -> str:
    """SHA-256 of a content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def checked_path(path: str) -> str:
    """Return `path` if it is safe to manage.

    Raises:
        HostFilesError: relative, not in normal form, with control characters, or in a kernel file system.
    """
    if CONTROL.search(path) or not path.isprintable():
        raise HostFilesError(f"path {path!r} holds control characters: rename the file")
    if not path.startswith("/") or path.startswith("//") or path == "/" or posixpath.normpath(path) != path:
        raise HostFilesError(
            f"path {path!r} must be absolute and in normal form: no '..', no '.', no '//', no '/' at its end"
        )
    if any(path == top or path.startswith(top + "/") for top in NOT_FILES):
        raise HostFilesError(f"path {path!r} is in a kernel file system: only files on a disk or in /run are managed")
    return path


def checked_attrs(path: str, owner: str, group: str, mode: str) -> Attrs:
    """Build the attributes of `path`.

    Raises:
        HostFilesError: the mode is not four octal digits (in YAML, an unquoted 0640 arrives as the number 416).
    """
    if not MODE.fullmatch(mode):
        raise HostFilesError(f'mode {mode!r} of {path} must be four octal digits in quotes, such as "0640"')
    return Attrs(owner, group, mode)


def checked_claim(claim: str) -> str:
    """Return `claim` if it can name a manifest file.

    Raises:
        HostFilesError: it holds characters that a file name should not have.
    """
    if not CLAIM.fullmatch(claim):
        raise HostFilesError(
            f"claim {claim!r} must be letters, digits, '_', '-' and '.', beginning with a letter or digit"
        )
    return claim


def parents(path: str) -> Iterator[str]:
    """The directories above `path`, the nearest first, without the root."""
    while (path := posixpath.dirname(path)) != "/":
        yield path
