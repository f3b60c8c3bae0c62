"""A place: one directory that holds a whole copy of the key file. Two places are two disks, or two hosts."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensmail.host.files import Files
from sensmail.keys.errors import PlaceFull, PlaceUnreachable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Place:
    """Durable operations on the files of one place; every method raises PlaceUnreachable or PlaceFull."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self.directory = directory
        self.files = files or Files()

    def __str__(self) -> str:
        return str(self.directory)

    def path(self, name: str) -> Path:
        """Full path of one file of this place."""
        return self.directory / name

    def read(self, name: str) -> bytes | None:
        """Whole content; None when there is no such file in a directory that does answer."""
        with self._reached(name):
            try:
                return self.path(name).read_bytes()
            except FileNotFoundError:
                if self.directory.is_dir():
                    return None
                raise

    def names(self) -> list[str]:
        """Names of all files here."""
        with self._reached("its directory"):
            return sorted(each.name for each in self.directory.iterdir())

    def size(self, name: str) -> int:
        """Bytes of one file, read anew."""
        with self._reached(name):
            return self.path(name).stat().st_size

    def append(self, name: str, offset: int, data: bytes) -> None:
        """Write `data` at the known end of a file; durable on return."""
        with self._reached(name):
            self.files.overwrite(self.path(name), offset, data)

    def cut(self, name: str, length: int) -> None:
        """Take back what follows `length`; durable on return."""
        with self._reached(name):
            self.files.cut(self.path(name), length)

    def overwrite(self, name: str, data: bytes) -> None:
        """Replace the content of a fixed-size file in the same disk blocks, so that the old content is gone."""
        with self._reached(name):
            try:
                self.files.overwrite(self.path(name), 0, data)
            except FileNotFoundError:
                self.files.create(self.path(name), data)
                self.files.fsync_directory(self.directory)

    def create(self, name: str, data: bytes) -> None:
        """A new file, or a new content for one that nothing refers to yet; durable on return."""
        with self._reached(name):
            self.files.create(self.path(name), data)
            self.files.fsync_directory(self.directory)

    def publish(self, source: str, target: str) -> None:
        """Put a finished file in another's stead, atomically; durable on return."""
        with self._reached(target):
            self.files.rename(self.path(source), self.path(target))
            self.files.fsync_directory(self.directory)

    def remove(self, name: str) -> None:
        """Remove a file whose content no longer matters; nothing happens when there is none."""
        with self._reached(name):
            try:
                self.files.unlink(self.path(name))
            except FileNotFoundError:
                return
            self.files.fsync_directory(self.directory)

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = PlaceFull if error.errno in _FULL else PlaceUnreachable
            fix = "make room there" if kind is PlaceFull else "bring the place back"
            raise kind(f"{self}: {what}: {error.strerror or error}; {fix} and repeat") from error
