"""Root providers: who wraps the epoch key, and what their `destroy` can promise."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cryptography.exceptions import InvalidTag

from sensmail.host.files import Files
from sensmail.keys.errors import RootUnavailable, WrongRoot
from sensmail.keys.material import KEY_BYTES, Box, derive

# Group-readable passes: systemd gives a unit its credential by an access list, which shows as 0440.
_TOO_OPEN = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP


@dataclass(frozen=True)
class Destruction:
    """How far the destruction of a root key reaches. `name` goes into certificates and reports."""

    name: Literal["software", "hardware", "none"]
    promise: str


class Root(Protocol):
    """One root key. `wrap` and `unwrap` bind the key to a context, so that a wrapped key cannot be moved."""

    provider: str  # "file", "pkcs11", "ncloud_kms"; "officers" for those who only recover
    destruction: Destruction
    slot_part: Literal["wrapped", "recovery"]  # which part of a slot this root opens

    def identity(self) -> bytes:
        """16 bytes that name this root key and tell nothing of it. Raises RootUnavailable."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt an epoch key. Raises RootUnavailable."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt it. Raises RootUnavailable, WrongRoot."""

    def destroy(self) -> None:
        """Make the root key unusable for good, as far as `destruction` says. Raises RootUnavailable."""

    def gone(self) -> bool:
        """Whether the provider answers that it has no such key, or for deletion only. Raises RootUnavailable."""


Roots = Root | Sequence[Root]  # the generations that are at hand, oldest to newest


def as_tuple(roots: Roots) -> tuple[Root, ...]:
    """Several generations, even where there is one. Raises ValueError for none."""
    made = tuple(roots) if isinstance(roots, Sequence) else (roots,)
    if not made:
        raise ValueError("a key file needs a root key; name one")
    return made


def pick(roots: Sequence[Root], identity: bytes, where: str) -> Root:
    """The root that wrapped a slot, or officers in its stead.

    Raises:
        WrongRoot: another root wrapped it. RootUnavailable: the one that does not answer may be it.
    """
    found, failure = [], None
    for root in reversed(roots):
        if root.slot_part == "recovery":
            return root
        try:
            held = root.identity()
        except RootUnavailable as error:
            failure = error
            continue
        if held == identity:
            return root
        found.append(held.hex())
    if failure:
        raise failure
    raise WrongRoot(f"{where}: wrapped by root {identity.hex()}, but here is {', '.join(found)}")


OVERWRITTEN = Destruction(
    "software",
    "The key's file is overwritten in place, synced and unlinked. A disk that moves blocks (SSD, copy-on-write file "
    "system, virtual disk), a snapshot or a copy of the file may still hold it.",
)


class FileRoot:
    """A root key of 32 random bytes in a file, as systemd hands it to a unit by LoadCredentialEncrypted.

    `path` is what is read. Where systemd decrypts the credential, the file that stays on disk is another one, the
    encrypted credential: name it as `stored`, and `destroy` overwrites that one.
    """

    provider = "file"
    destruction = OVERWRITTEN
    slot_part: Literal["wrapped", "recovery"] = "wrapped"

    def __init__(self, path: Path, stored: Path | None = None, files: Files | None = None) -> None:
        self._path, self._stored, self._files = path, stored or path, files or Files()

    @classmethod
    def create(cls, path: Path, files: Files | None = None) -> FileRoot:
        """Make a new root key in a new file.

        Raises:
            FileExistsError: there is a file; it is never replaced.
        """
        if path.exists():
            raise FileExistsError(f"{path}: holds a key already; use it, or name another file")
        files = files or Files()
        files.create(path, os.urandom(KEY_BYTES))
        files.fsync_directory(path.parent)
        return cls(path, files=files)

    def identity(self) -> bytes:
        """Derived from the key by HKDF, so that it tells nothing of it."""
        return derive(self._key(), b"sensmail root id v1")[:16]

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """AES-256-GCM under a key derived from the root key."""
        return self._box().seal(key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key that `wrap` took."""
        try:
            return self._box().open(wrapped, context)
        except (InvalidTag, ValueError):
            text = f"{self._path}: this root key does not open the epoch key, or the slot was changed"
            raise WrongRoot(text) from None

    def destroy(self) -> None:
        """Overwrite in place with random bytes, sync, unlink."""
        try:
            size = self._stored.stat().st_size
            self._files.overwrite(self._stored, 0, os.urandom(size))
            self._files.unlink(self._stored)
            self._files.fsync_directory(self._stored.parent)
        except OSError as error:
            raise RootUnavailable(f"{self._stored}: not destroyed: {error.strerror}") from error

    def gone(self) -> bool:
        """Whether there is no such file."""
        return not self._stored.exists()

    def _box(self) -> Box:
        return Box(derive(self._key(), b"sensmail root wrap v1"))

    def _key(self) -> bytes:
        try:
            mode = self._path.stat().st_mode
            key = self._path.read_bytes()
        except OSError as error:
            raise RootUnavailable(f"{self._path}: root key cannot be read: {error.strerror}") from error
        if mode & _TOO_OPEN:
            raise RootUnavailable(f"{self._path}: mode {stat.filemode(mode)} lets others in; set it to 0600 or 0400")
        if len(key) != KEY_BYTES:
            raise RootUnavailable(f"{self._path}: a root key has {KEY_BYTES} bytes; found {len(key)}")
        return key
