# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Try a plan where nobody else sees it, and ask the programs concerned whether they would accept it.

A child process enters a mount namespace of its own. Over every directory that will change it mounts an overlay whose
changes live in memory, takes the very steps of the plan there, and runs the validators. So `nginx -t` and
`postfix check` read the new files at their real names, and the host still has the old ones. When the child ends, the
kernel drops the namespace and everything in it. Where overlayfs is not to be had (a container in a container), the
directory is copied into memory instead.

Python 3.11 has no os.unshare, and no version has mount: both come from the C library. mount(2), unshare(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import posixpath
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ansible_collections.sensmail.cloud.plugins.module_utils.file_host import Hands, look
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import HostFilesError, parents
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Plan

CLONE_NEWNS = 0x00020000
PR_SET_PDEATHSIG = 1
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
MEMORY = "256m"  # changes of one run; a directory copied for want of overlayfs must fit as well
TIMEOUT_S = 120  # a validator that waits for something must not hold the run for ever
OUTPUT_LIMIT = 8000  # characters of a validator's words that are repeated


@dataclass(frozen=True)
class Validator:
    """Run `command` when a path that matches the glob `path` changes."""

    path: str
    command: tuple[str, ...]


def concerned(validators: Iterable[Validator], touched: Sequence[str]) -> list[tuple[str, ...]]:
    """Commands to run for the touched paths, each once, in the order given."""
    matched = (v.command for v in validators if any(fnmatchcase(path, v.path) for path in touched))
    return list(dict.fromkeys(matched))


def overlay_roots(paths: Iterable[str], directories: Iterable[str], mounts: Iterable[str]) -> list[str]:
    """The directories to cover, so that every path lies in one: the nearest existing ones, none twice. Pure.

    Args:
        paths: what will change.
        directories: those of its parents that exist.
        mounts: mount points of the host; an overlay does not show what is mounted below it.

    Raises:
        HostFilesError: a path would be a new entry of the root directory.
    """
    there = set(directories)
    nearest = set()
    for path in paths:
        above = next((parent for parent in parents(path) if parent in there), None)
        if above is None:
            raise HostFilesError(
                f"{path} makes a new directory at the root, where validators cannot be shown it: create that directory"
                " in an earlier task, or choose a place below an existing one"
            )
        nearest.add(above)

    def mount_of(path: str) -> str:
        return next((m for m in (path, *parents(path)) if m in points), "/")

    points = set(mounts)
    return sorted(
        root for root in nearest if not any(up in nearest and mount_of(up) == mount_of(root) for up in parents(root))
    )


def preview(plan: Plan, commands: Sequence[tuple[str, ...]], check_mode: bool) -> list[str]:
    """Run the commands against the host as it will be. Returns complaints; none means all agreed.

    In check mode a command that is not installed is passed over, and an owner that does not exist yet is root.

    Raises:
        HostFilesError: the private view could not be made.
    """
    stage = tempfile.mkdtemp(prefix="sensmail-preview-", dir="/run" if Path("/run").is_dir() else None)
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        _child(plan, commands, check_mode, stage, write_fd)
    os.close(write_fd)
    try:
        with os.fdopen(read_fd, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
    finally:
        Path(stage).rmdir()
    if not answer:
        raise HostFilesError("the process that tries the new files ended without an answer: is the host out of memory?")
    result: Mapping[str, list[str]] = json.loads(answer)
    if "error" in result:
        raise HostFilesError("the new files could not be tried before replacing the old ones: " + result["error"][0])
    return result["complaints"]


def _child(plan: Plan, commands: Sequence[tuple[str, ...]], check_mode: bool, stage: str, write_fd: int) -> None:
    """Everything that happens in the namespace. Never returns."""
    try:
        try:
            # or it would outlive a killed run, and hold its lock, for as long as a validator takes
            _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _cover(plan, stage)
            Hands(lenient=check_mode).take(plan.steps)
            ran = (_complaint(command, check_mode) for command in commands)
            result = {"complaints": [complaint for complaint in ran if complaint]}
        except Exception as error:  # whatever it is, the parent must hear of it
            result = {"error": [f"{type(error).__name__}: {error}"]}
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(json.dumps(result).encode())
    finally:
        os._exit(0)  # not sys.exit: the parent's exit handlers are not ours


def _cover(plan: Plan, stage: str) -> None:
    """Enter a private mount namespace and cover every directory that will change."""
    if _libc().unshare(CLONE_NEWNS):
        raise _os_error("unshare")
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, f"size={MEMORY},mode=0700")
    paths = [*plan.touched, *(step.path for step in plan.steps if step.action == "accounts")]
    directories = {up for path in paths for up in parents(path) if look(up).kind == "directory"}
    mounts = mount_points()
    for number, root in enumerate(overlay_roots(paths, directories, mounts)):
        _cover_one(root, f"{stage}/{number}", [point for point in mounts if point.startswith(root + "/")])


def _cover_one(root: str, stage: str, mounts_below: Sequence[str]) -> None:
    below = [(point, os.open(point, os.O_PATH)) for point in mounts_below]
    lower = os.open(root, os.O_PATH | os.O_DIRECTORY)
    for part in ("upper", "work", "copy"):
        Path(stage, part).mkdir(parents=True)
    # by descriptor, because ',' and ':' in a name would end the option
    shutil.copystat(root, f"{stage}/upper")
    status = Path(root).stat()
    os.chown(f"{stage}/upper", status.st_uid, status.st_gid)
    try:
        options = f"lowerdir=/proc/self/fd/{lower},upperdir={stage}/upper,workdir={stage}/work"
        _mount("overlay", root, "overlay", 0, options)
    except OSError:
        subprocess.run(
            ["cp", "--archive", "--one-file-system", "--no-target-directory", "--", root, f"{stage}/copy"],
            check=True,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        _mount(f"{stage}/copy", root, None, MS_BIND)
    for point, fd in below:
        _mount(f"/proc/self/fd/{fd}", point, None, MS_BIND)
        os.close(fd)
    os.close(lower)


def mount_points() -> list[str]:
    """Mount points of this namespace in the order of mounting. proc_pid_mountinfo(5)."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    raw = [line.split(" ")[4] for line in lines]
    # octal escapes for space, tab, newline, backslash
    plain = [
        point.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in point else point for point in raw
    ]
    return list(dict.fromkeys(posixpath.normpath(point) for point in plain))


def _complaint(command: tuple[str, ...], check_mode: bool) -> str:
    """Run one validator; an empty string when it agrees."""
    line = " ".join(command)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
            cwd="/",
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except FileNotFoundError:
        return (
            ""
            if check_mode
            else f"{line}: {command[0]} is not installed, so nobody can tell whether the files are right"
        )
    except PermissionError:
        return f"{line}: {command[0]} cannot be executed"
    except subprocess.TimeoutExpired:
        return f"{line}: no answer within {TIMEOUT_S} s"
    return f"{line}: ended with {done.returncode}\n{done.stdout.strip()[-OUTPUT_LIMIT:]}" if done.returncode else ""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    mount = _libc().mount
    mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    text = [None if value is None else os.fsencode(value) for value in (source, target, kind, options)]
    if mount(text[0], text[1], text[2], flags, text[3]):
        raise _os_error(f"mount {source} on {target}")


def _os_error(act: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{act}: {os.strerror(number)}")
