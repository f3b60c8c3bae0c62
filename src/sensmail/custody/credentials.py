"""Root keys of provider `file` as they lie on the disk: one encrypted credential of systemd a generation.

`/etc/sensmail/keys/root/1` reaches the key service as `sensmail-root_1` (LoadCredentialEncrypted= of the directory),
and carries that name inside, so that systemd refuses it under another. Sources: systemd-creds(1), systemd.exec(5).
"""

from __future__ import annotations

import os
from pathlib import Path

from sensmail.host.files import Files
from sensmail.host.systemd import CredentialRefused, encrypt_credential
from sensmail.keys.errors import KeyFailure, RootUnavailable
from sensmail.keys.material import KEY_BYTES
from sensmail.keys.roots import FileRoot

DIRECTORY = Path("/etc/sensmail/keys/root")
PREFIX = "sensmail-root_"
DESTRUCTION = FileRoot.destruction
_ENDING = ".destroyed"  # with a dot before it: systemd passes over such names
MAKE_UNIT = "sensmail-keyd-root@{}.service"  # makes the root key of a generation, see `make_root` the module


class CredentialError(KeyFailure):
    """A root credential cannot be made or destroyed. The text names the file and what to do."""


def generations(directory: Path = DIRECTORY) -> list[int]:
    """The generations that there are, oldest first; of credentials on the disk, or as a unit gets them.

    Raises:
        CredentialError: the directory cannot be read.
    """
    try:
        names = [each.name.removeprefix(PREFIX) for each in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CredentialError(f"{directory}: {error.strerror}; run as root") from error
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def make_root(generation: int, directory: Path = DIRECTORY) -> Path:
    """A new root key, known to systemd alone: random bytes that only ever leave this process encrypted.

    Args:
        generation: its number.
        directory: of the encrypted credentials.

    Raises:
        CredentialError: there is this generation already, or it cannot be encrypted or kept; nothing was changed.
    """
    path = directory / str(generation)
    if path.exists():
        raise CredentialError(f"{path}: holds a root key already, which is never replaced; take the next generation")
    try:
        sealed = encrypt_credential(f"{PREFIX}{generation}", os.urandom(KEY_BYTES))
    except CredentialRefused as error:
        raise CredentialError(f"{path}: {error}") from error
    files, beside = Files(), directory / f".{generation}.new"  # systemd passes over names with a dot
    try:
        files.create(beside, sealed)
        files.rename(beside, path)
        files.fsync_directory(directory)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}; no root key was made") from error
    return path


def destroy_root(generation: int, directory: Path = DIRECTORY) -> None:
    """Overwrite one encrypted credential in place and remove it; see `FileRoot.destruction` for what that promises.

    It is put out of systemd's sight first: one that was cut off half overwritten would keep the unit from starting.

    Raises:
        CredentialError: it is not there or not destroyed.
    """
    path, files = directory / str(generation), Files()
    try:
        files.rename(path, directory / f".{generation}{_ENDING}")
        files.fsync_directory(directory)
    except OSError as error:
        raise CredentialError(f"{path}: not destroyed: {error.strerror}") from error
    sweep(directory)


def sweep(directory: Path = DIRECTORY) -> None:
    """Complete every destruction that was cut off. Raises CredentialError."""
    try:
        for path in sorted(directory.glob(f".*{_ENDING}")):
            FileRoot(path).destroy()
    except RootUnavailable as error:
        raise CredentialError(str(error)) from error
