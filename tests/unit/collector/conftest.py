"""Real journals: files that systemd-journal-remote wrote, read by the real journalctl."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sensmail.records.collector.line import Line, Position

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT = "0123456789abcdef0123456789abcdef"
HOST = "00112233445566778899aabbccddeeff"
KEY = b"k" * 32
SSHD = {"_SYSTEMD_UNIT": "ssh.service", "_UID": 0, "_EXE": "/usr/lib/openssh/sshd-session", "SYSLOG_IDENTIFIER": "sshd"}
LOGGER = {"_SYSTEMD_UNIT": "session-3.scope", "_UID": 1000, "_EXE": "/usr/bin/logger"}


def login(number: int) -> str:
    """A line that makes one record, which its method tells from all others."""
    return f"Accepted key{number} for root from 192.0.2.7 port 4711 ssh2"


@dataclass
class JournalFiles:
    """A directory of journal files, and what was put into them."""

    directory: Path
    written: int = 0
    start: int = field(default_factory=lambda: time.time_ns() // 1000 - 3_600_000_000)

    @property
    def options(self) -> list[str]:
        return [f"--directory={self.directory}"]

    def write(self, lines: Iterable[tuple[str, Mapping[str, Any]]], file: str = "one", **shift: int) -> None:
        """Append lines to a file: message, and fields as journald would set them."""
        text = b"".join(self._entry(message, fields, **shift) for message, fields in lines)
        path = self.directory.parent / f"{file}.export"
        path.write_bytes(text)
        command = [REMOTE, f"--output={self.directory / file}.journal", str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def _entry(self, message: str, fields: Mapping[str, Any], clock_us: int = 0) -> bytes:
        self.written += 1
        passed = self.written * 1000
        whole = {
            "__REALTIME_TIMESTAMP": self.start + passed + clock_us, "__MONOTONIC_TIMESTAMP": passed, "_BOOT_ID": BOOT,
            "_TRANSPORT": "syslog", "_PID": 7, "MESSAGE": message, **fields,
        }  # fmt: skip
        return b"".join(_field(name, value) for name, value in whole.items()) + b"\n"

    def leave_out(self, after: int, by: int, file: str = "one") -> None:
        """Shift the numbers of all lines after the first `after`, as if `by` lines between had been lost."""
        path = self.directory / f"{file}.journal"
        data = bytearray(path.read_bytes())
        at, numbers = int.from_bytes(data[88:96], "little"), []  # header_size; journal-def.h
        end = at + int.from_bytes(data[96:104], "little")
        while at < end:
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            if size < 16:
                break
            if data[at] == 3:  # OBJECT_ENTRY: header (16), then its number
                numbers.append(at + 16)
            at += size + -size % 8
        for place in numbers[after:]:
            number = int.from_bytes(data[place : place + 8], "little") + by
            data[place : place + 8] = number.to_bytes(8, "little")
        path.write_bytes(data)


def _field(name: str, value: object) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode()
    if b"\n" in data or isinstance(value, bytes):
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


@pytest.fixture
def files(tmp_path: Path) -> JournalFiles:
    if not Path(REMOTE).exists():
        pytest.fail("these tests need systemd-journal-remote: tools/setup --tests", pytrace=False)
    (tmp_path / "journal").mkdir()
    return JournalFiles(tmp_path / "journal")


def line(message: str | None, number: int = 1, **fields: Any) -> Line:
    """A line of sshd, or of whoever the fields say."""
    at = 1_790_000_000_000_000 + number * 1000
    place = Position(f"s={'a' * 32};i={number:x};b={BOOT};m={number * 1000:x};t={at:x};x=1", "a" * 32, number, BOOT, at,
                     number * 1000)  # fmt: skip
    known = {"unit": "ssh.service", "uid": 0, "pid": 7, "comm": "sshd-session", "exe": SSHD["_EXE"],
             "transport": "syslog", "identifier": "sshd", "message_id": ""} | fields  # fmt: skip
    return Line(place, message, **known)
