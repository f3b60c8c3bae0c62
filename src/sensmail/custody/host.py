"""The units of the key service, as a ceremony on its host starts and stops them."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from sensmail.custody import credentials, recover, root_key
from sensmail.custody.recover import Recovered, Request
from sensmail.keyd.errors import KeyServiceError

SERVICE, SOCKET = "sensmail-keyd.service", "sensmail-keyd.socket"
RECOVER, PROVIDER = "sensmail-keyd-recover.service", "sensmail-keyd-provider.service"
ACCOUNT = "sensmail-keyd"
Result = TypeVar("Result", Recovered, root_key.Answer)


class UnitFailed(KeyServiceError):
    """A unit could not be started or stopped; the text has systemd's words."""


def systemctl(*arguments: str) -> None:
    """Run systemctl.

    Raises:
        UnitFailed: it did not end well.
    """
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().replace("\n", " ") or f"exit code {done.returncode}"
        fix = f"look at `journalctl -u {arguments[-1]}`, and repeat"
        raise UnitFailed(f"systemctl {' '.join(arguments)}: {words}; {fix}")


def restart() -> None:
    """The unit is ready when it answers (Type=notify); callers wait at its socket meanwhile."""
    systemctl("reset-failed", SOCKET, SERVICE)  # restarts that were wanted do not count as failures
    systemctl("restart", SERVICE)


def start() -> None:
    """Start it where it is down, as after a reboot in between."""
    systemctl("reset-failed", SOCKET, SERVICE)
    systemctl("start", SOCKET, SERVICE)


def make_root(generation: int) -> None:
    """A new root credential, made where no key reaches swap or a core file. Raises UnitFailed."""
    systemctl("start", credentials.MAKE_UNIT.format(generation))


def run_root_key(ask: root_key.Request) -> root_key.Answer:
    """Run the unit that reaches the provider of a root key.

    Raises:
        UnitFailed: the text has the provider's own reason where it gave one.
    """
    with _staged(root_key.STAGE) as stage:
        (stage / root_key.REQUEST).write_bytes(msgspec.json.encode(ask))
        _give(stage)
        systemctl("daemon-reload")
        return _run_unit(PROVIDER, stage / root_key.RESULT, root_key.Answer)


def run_recovery(ask: Request, copy: Path | None = None, pieces: Sequence[bytes] = ()) -> Recovered:
    """Run the recovery unit on staged files while the service is stopped, and start the service again.

    systemd stops the service for the unit, and starts it when the unit ends, also where this process was killed.

    Args:
        ask: what to do.
        copy: directory with a copy of a place; None to fill an empty place.
        pieces: the two officers' piece files.

    Raises:
        UnitFailed: the text has the recovery's own reason where it gave one.
    """
    with _staged(recover.STAGE) as stage:
        _lay_out(stage, ask, copy, pieces)
        _give(stage)
        systemctl("daemon-reload")
        with _service_runs_again():
            return _run_unit(RECOVER, stage / recover.RESULT, Recovered)


@contextmanager
def _service_runs_again() -> Iterator[None]:
    """However it ends, the service answers. After an error, that error is the one to tell."""
    well = False
    try:
        yield
        well = True
    finally:
        with nullcontext() if well else suppress(UnitFailed):
            start()


def _run_unit(unit: str, result: Path, kind: type[Result]) -> Result:
    reason = ""
    try:
        systemctl("start", unit)
    except UnitFailed as failure:
        reason = str(failure)
    done = _result(unit, result, kind)
    if done is None or done.error or reason:
        raise UnitFailed((done.error if done else "") or reason or f"{unit}: left no result; repeat")
    return done


def _result(unit: str, file: Path, kind: type[Result]) -> Result | None:
    """What the unit left; its account may put anything there."""
    try:
        return msgspec.json.decode(_plain_file(file), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise UnitFailed(f"{file}: cannot be read ({error}); look at `journalctl -u {unit}`, and repeat") from error


def _plain_file(path: Path) -> bytes:
    """Content of a file itself: no link is followed, and no pipe is waited for.

    Raises:
        UnitFailed: it is something else. OSError.
    """
    refused = UnitFailed(f"{path}: is a link, or no plain file; put the file itself there")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refused if error.errno == errno.ELOOP else error from None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise refused
        return file.read()


@contextmanager
def _staged(stage: Path) -> Iterator[Path]:
    """A directory for what a unit reads, in memory (/run); gone afterwards."""
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(mode=0o700)
    try:
        yield stage
    except OSError as error:
        text = f"{error.filename}: {error.strerror}; name a directory with slot, snapshot and journal"
        raise UnitFailed(text) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _lay_out(stage: Path, ask: Request, copy: Path | None, pieces: Sequence[bytes]) -> None:
    if copy is not None:
        (stage / recover.COPY).mkdir()
        for file in sorted(copy.iterdir()):
            if file.name == "snapshot" or file.name.startswith(("slot.", "journal.")):
                (stage / recover.COPY / file.name).write_bytes(_plain_file(file))
    for name, data in zip(recover.PIECES, pieces, strict=False):
        (stage / name).write_bytes(data)
    (stage / recover.REQUEST).write_bytes(msgspec.json.encode(ask))


def _give(stage: Path) -> None:
    """To the account of the key service. Children first: who gets a directory may put links into it from then on."""
    owner = pwd.getpwnam(ACCOUNT)
    for path in (*sorted(stage.rglob("*"), reverse=True), stage):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
