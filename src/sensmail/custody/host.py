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

import msgspec

from sensmail.custody import credentials, recover
from sensmail.custody.recover import Recovered, Request
from sensmail.keyd.errors import KeyServiceError

SERVICE, SOCKET, RECOVER = "sensmail-keyd.service", "sensmail-keyd.socket", "sensmail-keyd-recover.service"
ACCOUNT = "sensmail-keyd"


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


class SystemdHost:
    """The host of a root change: credentials of systemd, and the unit that reads them when it starts."""

    def __init__(self, directory: Path = credentials.DIRECTORY) -> None:
        self._directory = directory

    def generations(self) -> list[int]:
        """Numbers of the root credentials on disk, in order."""
        return credentials.generations(self._directory)

    def make(self, generation: int) -> None:
        """A new root credential, made where no key reaches swap or a core file."""
        systemctl("start", credentials.MAKE_UNIT.format(generation))

    def destroy(self, generation: int) -> None:
        """Overwritten in place, synced, unlinked."""
        credentials.destroy_root(generation, self._directory)

    def sweep(self) -> None:
        """Complete a destruction that was cut off."""
        credentials.sweep(self._directory)

    def restart(self) -> None:
        """The unit is ready when it answers (Type=notify); callers wait at its socket meanwhile."""
        systemctl("reset-failed", SOCKET, SERVICE)  # restarts that were wanted do not count as failures
        systemctl("restart", SERVICE)

    def start(self) -> None:
        """Start it where it is down, as after a reboot in between."""
        systemctl("reset-failed", SOCKET, SERVICE)
        systemctl("start", SOCKET, SERVICE)


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
    with _staged(ask, copy, pieces) as stage:
        systemctl("daemon-reload")
        with _service_runs_again():
            return _run_unit(stage)


@contextmanager
def _service_runs_again() -> Iterator[None]:
    """However it ends, the service answers. After an error, that error is the one to tell."""
    well = False
    try:
        yield
        well = True
    finally:
        with nullcontext() if well else suppress(UnitFailed):
            SystemdHost().start()


def _run_unit(stage: Path) -> Recovered:
    reason = ""
    try:
        systemctl("start", RECOVER)
    except UnitFailed as failure:
        reason = str(failure)
    done = _result(stage / recover.RESULT) or Recovered(error=reason or f"{RECOVER}: left no result; repeat")
    if done.error or reason:
        raise UnitFailed(done.error or reason)
    return done


def _result(file: Path) -> Recovered | None:
    """What the unit left; its account may put anything there."""
    try:
        return msgspec.json.decode(_plain_file(file), type=Recovered)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise UnitFailed(f"{file}: cannot be read ({error}); look at `journalctl -u {RECOVER}`, and repeat") from error


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
def _staged(ask: Request, copy: Path | None, pieces: Sequence[bytes]) -> Iterator[Path]:
    """What the unit reads, in memory (/run), for its account alone; gone afterwards."""
    stage, owner = recover.STAGE, pwd.getpwnam(ACCOUNT)
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(mode=0o700)
    try:
        if copy is not None:
            (stage / recover.COPY).mkdir()
            for file in sorted(copy.iterdir()):
                if file.name == "snapshot" or file.name.startswith(("slot.", "journal.")):
                    (stage / recover.COPY / file.name).write_bytes(_plain_file(file))
        for name, data in zip(recover.PIECES, pieces, strict=False):
            (stage / name).write_bytes(data)
        (stage / recover.REQUEST).write_bytes(msgspec.json.encode(ask))
        _give(stage, owner.pw_uid, owner.pw_gid)
        yield stage
    except OSError as error:
        text = f"{error.filename}: {error.strerror}; name a directory with slot, snapshot and journal"
        raise UnitFailed(text) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _give(stage: Path, uid: int, gid: int) -> None:
    """Children first: whoever gets a directory may put links into it from then on."""
    for path in (*sorted(stage.rglob("*"), reverse=True), stage):
        os.chown(path, uid, gid, follow_symlinks=False)
