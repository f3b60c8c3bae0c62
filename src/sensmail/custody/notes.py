"""Small files by which root remembers something about the keys: all of a note is there, durably, or the one before."""

from __future__ import annotations

import os
from pathlib import Path

from sensmail.host.files import Files


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a note. Raises OSError."""
    files, beside = Files(), path.with_name(f".{path.name}.new")
    files.create(beside, data)
    os.chmod(beside, mode)
    files.rename(beside, path)
    files.fsync_directory(path.parent)
