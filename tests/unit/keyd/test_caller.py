"""Which unit a process belongs to: examples of the text of /proc/<pid>/cgroup, and real connections."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keyd.caller import SESSION, UNKNOWN, Caller, identify, name_of, unit_of

V1 = "12:pids:/user.slice\n3:cpu,cpuacct:/\n1:name=systemd:{}\n"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/sensmail-portal.service", "sensmail-portal.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/sensmail.slice/sensmail-jobs.slice/sensmail-rotate.service", "sensmail-rotate.service"),
        ("/system.slice/a.service/payload/sensmail-portal.service", "a.service"),
        ("/system.slice/a.service/sensmail-portal.service", "a.service"),
        ("/system.slice/sensmail\\x2dportal.service", "sensmail\\x2dportal.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/user.slice/user-0.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/session-c2.scope", "session-c2.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/sensmail-portal.service", "user@1000.service"),
        ("/init.scope", "init.scope"),
        ("/", UNKNOWN),
        ("/system.slice", UNKNOWN),
        ("/../../system.slice/sensmail-portal.service", UNKNOWN),
        ("/../sensmail-portal.service", UNKNOWN),
        ("/system.slice/../sensmail-portal.service", UNKNOWN),
        ("/system.slice/sensmail-portal.service (deleted)", UNKNOWN),
        ("/docker/3f1c/sensmail-portal.service", UNKNOWN),
        ("/system.slice/sensmail-portal.service.d/x", UNKNOWN),
        ("/machine.slice/kube.socket", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_the_unit_of_a_control_group(path: str, unit: str) -> None:
    assert unit_of(f"0::{path}\n") == unit
    assert unit_of(V1.format(path)) == unit
    assert unit_of(V1.format(path) + "0::/\n") == unit, "hybrid: systemd's own hierarchy is the old one"


def test_another_hierarchy_names_no_unit() -> None:
    assert unit_of("4:memory:/system.slice/sensmail-portal.service\n") == UNKNOWN
    assert unit_of("5:name=other:/system.slice/sensmail-portal.service\n0::/\n") == UNKNOWN
    assert unit_of("0::/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n") == "a.service"


@pytest.mark.parametrize(
    ("unit", "uid", "name"),
    [
        ("session-3.scope", 0, SESSION),
        ("user@0.service", 0, SESSION),
        ("ssh.service", 0, SESSION),
        ("ssh@1-192.0.2.1:22.service", 0, SESSION),
        ("console-getty.service", 0, SESSION),
        ("session-3.scope", 1000, "session-3.scope"),
        ("user@1000.service", 1000, "user@1000.service"),
        ("ssh.service", 33, "ssh.service"),
        ("sensmail-portal.service", 0, "sensmail-portal.service"),
        ("session.service", 0, "session.service"),
        ("", 0, ""),
    ],
)
def test_only_root_has_a_session(unit: str, uid: int, name: str) -> None:
    assert name_of(unit, uid) == name


@given(st.text(alphabet="0123:/.-_@\\ slicervcope=namytd\n\x00가", max_size=80))
def test_any_text_gives_a_unit_or_none(text: str) -> None:
    unit = unit_of(text)
    assert unit == UNKNOWN or (unit.endswith((".service", ".scope")) and "/" not in unit)


def connected(
    tmp_path: Path, uid: int, then: str = "sys.stdin.read()"
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A connection that a process of another user made, and that process."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    tmp_path.chmod(0o755)
    listening.bind(str(tmp_path / "s"))
    (tmp_path / "s").chmod(0o666)
    listening.listen()
    listening.settimeout(10)
    program = f"s = socket.socket(socket.AF_UNIX); s.connect('s'); {then}"
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", f"import os, socket, sys; os.setgid({uid}); os.setuid({uid})\n{program}"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    )
    connection, _ = listening.accept()
    listening.close()
    return connection, process


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_the_kernel_names_the_process_that_connected(tmp_path: Path) -> None:
    connection, process = connected(tmp_path, 65534)
    proc = tmp_path / "proc" / str(process.pid)
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("0::/system.slice/sensmail-portal.service\n")
    assert identify(connection, tmp_path / "proc") == Caller("sensmail-portal.service", 65534, process.pid)
    assert identify(connection).uid == 65534
    process.communicate()
    assert identify(connection, tmp_path / "proc").unit == UNKNOWN, "it has ended: its number proves nothing"
    connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
class _Ended:
    """A connection whose kernel refuses a descriptor of the other end's process."""

    def __init__(self, error: int) -> None:
        self._error = error

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:
        if option == socket.SO_PEERCRED:
            return struct.pack("iII", os.getpid(), 0, 0)
        raise OSError(self._error, "refused")


@pytest.mark.parametrize(("error", "asked"), [(errno.EINVAL, False), (errno.ESRCH, False), (errno.ENOPROTOOPT, True)])
def test_a_number_alone_counts_only_where_the_kernel_knows_no_better(error: int, asked: bool, tmp_path: Path) -> None:
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "cgroup").write_text("0::/system.slice/sensmail-rotate.service\n")
    found = identify(_Ended(error), tmp_path)  # type: ignore[arg-type]
    assert found.unit == ("sensmail-rotate.service" if asked else "")


def test_a_process_that_handed_its_connection_on_and_ended_is_nobody(tmp_path: Path) -> None:
    connection, process = connected(
        tmp_path, 65534, "os.set_inheritable(s.fileno(), True); os.fork() or sys.stdin.read()"
    )
    proc = tmp_path / "proc" / str(process.pid)
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("0::/system.slice/sensmail-portal.service\n")
    process.wait()
    assert identify(connection, tmp_path / "proc").unit == UNKNOWN
    assert process.stdin is not None
    process.stdin.close()
    connection.close()
