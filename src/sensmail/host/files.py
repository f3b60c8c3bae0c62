"""The only calls that change a disk. One small class, so that tests can fail, tear or kill at every step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o600


class Files:
    """Durable writes out of single steps. A step is one method of the first group; tests override those.

    Nothing is promised to be on disk before the `fsync` that follows it. Sources: open(2), fsync(2), rename(2).
    """

    # steps

    def open(self, path: Path, flags: int) -> int:
        """A file descriptor; with O_CREAT the file is readable by its owner only."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        """May write less than asked."""
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, length: int) -> None:
        """Cut or extend to `length` bytes."""
        os.ftruncate(fd, length)

    def fsync(self, fd: int) -> None:
        """Content and size of one file reach the disk."""
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` in one step."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name; on most file systems the blocks stay readable."""
        path.unlink()

    def fsync_directory(self, path: Path) -> None:
        """Names in one directory reach the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    # what is made of them

    def create(self, path: Path, data: bytes) -> None:
        """A whole new content, durable but for its name: the caller syncs the directory."""
        with self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            self._write(fd, data, 0)
            self.fsync(fd)

    def overwrite(self, path: Path, offset: int, data: bytes) -> None:
        """Write into an existing file, in place, durably."""
        with self._opened(path, os.O_WRONLY) as fd:
            self._write(fd, data, offset)
            self.fsync(fd)

    def append(self, path: Path, data: bytes) -> None:
        """Add at the end of an existing file, durably; also where the file system lets nobody do anything else."""
        with self._opened(path, os.O_WRONLY | os.O_APPEND) as fd:
            self._write(fd, data, 0)  # pwrite(2): with O_APPEND, Linux appends whatever the offset
            self.fsync(fd)

    def cut(self, path: Path, length: int) -> None:
        """Shorten an existing file durably."""
        with self._opened(path, os.O_WRONLY) as fd:
            self.truncate(fd, length)
            self.fsync(fd)

    def _write(self, fd: int, data: bytes, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = self.pwrite(fd, rest, offset)
            if written <= 0:
                raise OSError(errno.EIO, "the disk took no more bytes")
            offset, rest = offset + written, rest[written:]

    @contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int]:
        fd = self.open(path, flags)
        try:
            yield fd
        finally:
            os.close(fd)
