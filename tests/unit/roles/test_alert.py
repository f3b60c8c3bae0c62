"""The failure mail: what it holds, what it leaves out, and how often it is sent."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/base/templates/usr/local/libexec/sensmail-alert"


@pytest.fixture(scope="module")
def alert() -> ModuleType:
    loader = SourceFileLoader("sensmail_alert", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("rcpt kim.minsu@corp.or.kr unknown", "rcpt <address> unknown"),
        ("to=<kim@corp.kr>, relay", "to=<<address>>, relay"),
        ("login from 203.0.113.9:4711", "login from <ip>:4711"),
        ("from 2001:db8::1 and ::1", "from <ip> and <ip>"),
        ("[203.0.113.9]:25, 203.0.113.9.", "[<ip>]:25, <ip>."),
        ("version 1.2.3, code=exited", "version 1.2.3, code=exited"),
        ("peer ::ffff:203.0.113.9", "peer <ip>"),
        ('user "Kim Minsu" unknown', "user <quoted> unknown"),
        ("at 12:13:14 postgresql@17-main.service failed", "at 12:13:14 postgresql@17-main.service failed"),
        ("Failed to start getty@tty1.service - Getty.", "Failed to start getty@tty1.service - Getty."),
    ],
)
def test_lines_leave_without_what_is_personal(alert: ModuleType, line: str, shown: str) -> None:
    assert alert.blank(line) == shown


def test_a_unit_is_reported_every_ten_minutes_at_most(alert: ModuleType, tmp_path: Path) -> None:
    stamp = tmp_path / "a.service"
    assert [alert.due(stamp, now) for now in (1000.0, 1001.0, 1599.0, 1600.0, 1700.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert alert.due(tmp_path / "b.service", 1001.0)


def test_a_mail_that_nobody_took_is_tried_again(
    alert: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alert, "SENDMAIL", "/bin/false")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["alert", "--to=o@example.kr", "--relay=localhost", "a.service"])
    monkeypatch.setattr(alert, "output", lambda *command: "state")
    assert alert.main() == 1
    assert "a.service could not be sent" in capsys.readouterr().err
    monkeypatch.setattr(alert, "SENDMAIL", "/bin/true")
    assert alert.main() == 0


def test_the_mail_says_what_and_where(alert: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"systemctl": "Result=exit-code", "journalctl": "line of kim@corp.kr\nlast line"}
    monkeypatch.setattr(alert, "output", lambda *command: said[command[0]])
    monkeypatch.setattr(alert.socket, "getfqdn", lambda: "mx.example.kr")
    mail = alert.report("a.service", "o@example.kr")
    assert (mail["To"], mail["Subject"]) == ("o@example.kr", "[mx.example.kr] a.service failed")
    text = mail.get_content()
    assert "Result=exit-code" in text
    assert "line of <address>\nlast line" in text
    assert "kim@corp.kr" not in text
