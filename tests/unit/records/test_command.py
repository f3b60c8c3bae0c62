"""`sensmail records` as an operator sees it."""

from __future__ import annotations

import re
import time

import pytest

from sensmail.cli import main
from sensmail.store import Settings
from unit.records.rig import Rig


@pytest.fixture
def here(rig: Rig, configured: Settings) -> Rig:
    return rig


def test_status_names_both_logs_and_says_when_sealing_is_late(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    here.write(3)
    here.sealer()
    here.write(1)
    assert main(["records", "status"]) == 1  # the rig's clock stands in 2025
    out, err = capsys.readouterr()
    assert "접속기록 (access), generation 1" in out
    assert "0 … 2" in out
    assert len(re.findall(r"mail\.example\.go\.kr/records/\w+/1/[0-9a-f]{32}\+[0-9a-f]{8}\+\S{44}", out)) == 2
    assert re.search(r"대기 waiting +1, 20\d\d-", out)
    assert "journalctl -u sensmail-sealer" in err


def test_a_log_that_is_up_to_date_is_well(here: Rig) -> None:
    here.sealer(lambda: time.time_ns() // 1000)
    assert main(["records", "status"]) == 0


def test_without_any_log_it_says_so(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["records", "status"]) == 1
    assert "no checkpoint" in capsys.readouterr().err


def test_records_are_shown_in_korean_time_and_a_forged_name_does_nothing(
    here: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    here.write(2, client="\x1b[2J한글", purpose="own_data")
    here.sealer()
    assert main(["records", "show", "1"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[2J한글" in out
    assert "+0900" in out
    assert main(["records", "tail", "-n", "1"]) == 0
    out = capsys.readouterr().out
    assert "kim1@example.test" in out
    assert "kim0@example.test" not in out


@pytest.mark.parametrize("words", [["show", "7"], ["tail", "-n", "0"], ["check", "--log-key", "x"]])
def test_what_cannot_be_is_refused_in_one_line(here: Rig, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    here.sealer()
    assert main(["records", *words]) == 1
    assert capsys.readouterr().err.startswith("sensmail: ")


def test_a_check_exits_with_what_it_found(here: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    here.write(2)
    here.sealer()
    assert main(["records", "check"]) == 0
    here.tamper(
        "ALTER TABLE records.access_1202511 DISABLE TRIGGER USER", "ALTER TABLE records.access DISABLE TRIGGER USER",
        "UPDATE records.access SET act = 'x' WHERE seq = 1",
    )  # fmt: skip
    assert main(["records", "check"]) == 1
    assert "at least one is not what was sealed" in capsys.readouterr().out
