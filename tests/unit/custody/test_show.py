"""What people read: Korean time, Korean headings, nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sensmail.cli import main
from sensmail.cli.keys_show import due_text, register_csv, register_text, status_text
from sensmail.keyd import register
from sensmail.keyd.protocol import RootFound, Status, Why
from sensmail.keyd.register import Line
from sensmail.keys.officer import fingerprint
from sensmail.rotation.due import Due
from sensmail.store import Connection, Settings

RING, ROOT = "ab" * 16, "01" * 16
LINE = Line(
    7, RING, "root", ROOT, "최상위 키", "file", None, "", datetime(2026, 11, 23, 15, 30, tzinfo=UTC),
    datetime(2026, 11, 23, 15, 31, tzinfo=UTC), None, None, None, "=cmd()", "software", "+1",
)  # fmt: skip


def read(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_the_sheet() -> None:
    (row,) = read(register_csv([LINE]))
    assert row["생성일"] == "2026-11-24 00:30"  # 15:30 UTC the day before
    assert (row["종류"], row["키 식별자"], row["교체일"], row["파기일"]) == ("최상위 키 (root)", ROOT, "", "")
    assert (row["승인자"], row["사유"]) == ("'=cmd()", "'+1")
    assert row["파기 등급"] == ""  # nothing is destroyed yet


def test_the_table_fits_korean() -> None:
    """Wide signs count two, so that the columns stand under their headings."""
    head, line = register_text([LINE]).splitlines()
    assert line.startswith("abababab  최상위 키  01010101")
    assert head.startswith("키 파일   종류       키 ")
    assert "2026-11-24" in line


def test_the_command_reads_the_database(
    configured: Settings, session: Callable[[str], Connection], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = register.Seen(RING, 1, False, (register.RootSeen(ROOT, "file", "software"),), ROOT, (), 0, 0)
    register.reconcile(session(register.ROLE), seen, Why("kim", "first"))
    assert main(["keys", "register", "--csv"]) == 0
    assert [row["종류"] for row in read(capsys.readouterr().out)] == [
        "최상위 키 (root)", "에포크 키 (epoch)", "정보주체 키 (subject)"
    ]  # fmt: skip
    assert main(["keys", "register"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_without_the_service_the_fix_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "status"]) == 1
    assert "is sensmail-keyd.service running" in capsys.readouterr().err


def status(**changes: object) -> Status:
    given = {
        "ring": RING, "epoch": 3, "sequence": 9, "destroying": True, "destroyed_through": 1, "recovery": False,
        "officers": [], "wrapped_by": ROOT, "roots": [RootFound(ROOT, "file", "software", "…")],
        "places": {"/one": "in step", "/two": "gone"}, "lost": {"/three": 0}, "counts": {"restore_only": 4},
        "issued": 12, "settled": 11, "database": "connected", "memory_locked": False, "started": 0,
    }  # fmt: skip
    return Status(**{**given, **changes})  # type: ignore[arg-type]


def test_what_is_wrong_stands_in_the_status() -> None:
    text = status_text(status())
    for words in (
        "some place may still open one: roll", "/two: gone", "/three, given up 1970-01-01 09:00",
        "a lost host is final", "4 restore only", "12 numbers given out, 11 settled", "not locked",
        "destruction software",
    ):  # fmt: skip
        assert words in text, words


def test_officers_are_shown_by_what_they_read_out() -> None:
    public = bytes(range(32))
    assert fingerprint(public) in status_text(status(officers=[public.hex()], destroying=False))


def test_what_is_due_and_what_will_be() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    dates = [Due("roll", now - timedelta(days=2), "every 30 days"), Due("root", now + timedelta(days=1), "root key")]
    assert due_text(dates, now).splitlines() == [
        "roll:             due since 2026-11-23 21:00  every 30 days",
        "root:             due on 2026-11-26 21:00  root key",
    ]
