"""A machine's root file system: an overlay above the base image, or an ext4 image of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .system import run

KINDS = ("overlay", "ext4")
_EXT4_SIZE = "16G"


def mount(kind: str, base: Path, home: Path) -> Path:
    """Mount the root of the machine whose files lie in `home`; returns the mount point.

    `ext4` gives a raw image (`home/root.img`, sparse) for tests that look at the disk itself.
    """
    target = home / "root"
    target.mkdir(parents=True, exist_ok=True)
    if os.path.ismount(target):
        return target
    if kind == "ext4":
        image = home / "root.img"
        if not image.exists():
            partial = home / "root.img.partial"
            partial.unlink(missing_ok=True)
            run("truncate", "-s", _EXT4_SIZE, str(partial))
            run("mkfs.ext4", "-q", "-F", "-d", str(base), str(partial))
            partial.rename(image)
        run("mount", "-o", "loop", str(image), str(target))
    else:
        for part in ("upper", "work"):
            (home / part).mkdir(exist_ok=True)
        # Without redirect_dir, renaming a directory of the base fails with EXDEV.
        options = f"lowerdir={base},upperdir={home}/upper,workdir={home}/work,redirect_dir=on"
        run("mount", "-t", "overlay", "overlay", "-o", options, str(target))
    return target


def discard(home: Path) -> None:
    """Unmount and delete the root, whatever state a crash left it in."""
    target = home / "root"
    while os.path.ismount(target):
        run("umount", "--lazy", str(target))
    shutil.rmtree(home, onerror=_release)


def _release(remove: Callable[..., object], path: str, _error: object) -> None:
    """A file to which the kernel only lets add (chattr +a), as a witness has them, is let go."""
    run("chattr", "-a", path)
    remove(path)
