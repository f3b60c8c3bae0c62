"""A witness on its host, as role witness asks for it: its keys, and a file for each log that can only be added to."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path

from sensmail.host.files import Files
from sensmail.records.errors import Malformed
from sensmail.records.note import VerifierKey
from sensmail.records.witness import keys
from sensmail.records.witness.errors import WitnessFailure
from sensmail.records.witness.keys import Public
from sensmail.records.witness.log import path
from sensmail.records.witness.settings import PUBLIC, STORE

ACCOUNT = "sensmail-witness"
# linux/fs.h; what chattr(1) asks
_GET_FLAGS, _SET_FLAGS, _APPEND = 0x80086601, 0x40086602, 0x20
_FLAGS = struct.Struct("i")
_WITHOUT_FLAGS = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass
class Outcome:
    """What was done, or would be; what is public, where it is there; and what an operator should know."""

    public: Public | None = None
    steps: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def ensure(
    name: str, logs: list[str], *, check: bool = False, public: Path = PUBLIC, store: Path = STORE, owner: str = ACCOUNT
) -> Outcome:
    """Make what is missing, as root; nothing that is there is ever replaced.

    Args:
        name: of the witness.
        logs: verifier keys of the logs that it watches.
        check: only say what would be done.
        public: directory of its keys.
        store: directory of its notes.
        owner: account of the service.

    Raises:
        WitnessFailure: an operator has to act. OSError.
    """
    outcome = Outcome()
    used = any(each.stat().st_size for each in store.glob("*.notes"))
    outcome.public, outcome.steps = keys.ensure(public, name, used=used, check=check)
    for text in logs:
        try:
            file = path(store, VerifierKey.from_text(text).name)
        except Malformed as error:
            raise WitnessFailure(f"witness_logs: {error}") from error
        _file(file, owner, check, outcome)
    return outcome


def _file(file: Path, owner: str, check: bool, outcome: Outcome) -> None:
    if not file.exists():
        outcome.steps.append(f"make {file}")
        if check:
            return
        Files().create(file, b"")
        shutil.chown(file, owner, owner)
        Files().fsync_directory(file.parent)
    try:
        if not _only_added_to(file):
            outcome.steps.append(f"let {file} only be added to")
            if not check:
                _add_only(file)
    except OSError as error:
        if error.errno not in {*_WITHOUT_FLAGS, errno.EPERM}:
            raise
        outcome.findings.append(f"{file}: the kernel does not hold it append-only here ({error.strerror})")
        outcome.steps = [each for each in outcome.steps if each != f"let {file} only be added to"]


def _only_added_to(file: Path) -> bool:
    return bool(_flags(file) & _APPEND)


def _add_only(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(_flags(file) | _APPEND))
    finally:
        os.close(fd)


def _flags(file: Path) -> int:
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(_FLAGS.unpack(fcntl.ioctl(fd, _GET_FLAGS, _FLAGS.pack(0)))[0])
    finally:
        os.close(fd)
