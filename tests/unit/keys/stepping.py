"""A disk of which every act that changes something is one step: what the crash and the disk-error tests break."""

from __future__ import annotations

from pathlib import Path

from sensmail.host.files import Files


class Stepping(Files):
    """Calls `_step` before each act; what a torn write leaves is the business of those who tear it."""

    def _step(self) -> None:
        raise NotImplementedError

    def open(self, path: Path, flags: int) -> int:
        self._step()
        return super().open(path, flags)

    def truncate(self, fd: int, length: int) -> None:
        self._step()
        super().truncate(fd, length)

    def fsync(self, fd: int) -> None:
        self._step()
        super().fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def fsync_directory(self, path: Path) -> None:
        self._step()
        super().fsync_directory(path)
