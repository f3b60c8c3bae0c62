"""From lines to records: who is believed, what is missing, what the clock was, which names are kept."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.ledger import Entry
from sensmail.records.collector import clock, sources
from sensmail.records.collector.clock import Clock
from sensmail.records.collector.found import Act, Kind, Refused
from sensmail.records.collector.journald import DROPPED
from sensmail.records.collector.line import Line, NoLine, Position, StrangeCursor, parse
from sensmail.records.collector.names import Names
from sensmail.records.collector.reading import LookAgain, Reading
from sensmail.records.collector.sessions import Sessions
from unit.collector.conftest import KEY, line

NAMES = Names(KEY, on_host={"root", "kim"}.__contains__)
CLERK, CLERKS_ID = "clerk@sensmail.test", uuid4()
NOW = 1_790_000_000_000_000
ACCEPTED = "Accepted publickey for kim from 192.0.2.7 port 53870 ssh2"
FAILED = "Failed password for invalid user {} from 192.0.2.7 port 53870 ssh2"


def reading(after: Position | None = None, **more: Any) -> Reading:
    return Reading(after, Sessions({}), NAMES, Clock(lambda: clock.SYNCHRONISED, lambda: NOW + 1_000_000), **more)


def people(wanted: Sequence[str]) -> dict[str, UUID]:
    return {CLERK: CLERKS_ID} if CLERK in wanted else {}


def records(*lines: Line, after: Position | None = None) -> list[Entry]:
    """What lines become, without the record that a journal begins."""
    found = reading(after)
    for each in lines:
        found.take(each)
    return [each for each in found.finish(people) if each.act != "journal.begin"]


# who is believed


@pytest.mark.parametrize(
    "fields",
    [
        {"exe": "/usr/bin/logger"},
        {"exe": "/usr/lib/openssh/sshd-session", "uid": 1000},  # anybody may start the program
        {"exe": "", "uid": 1000},
        {"exe": "/home/kim/usr/lib/openssh/sshd-session"},
    ],
)
def test_a_line_that_only_calls_itself_sshd_is_refused_and_recorded(fields: dict[str, Any]) -> None:
    forged = line(ACCEPTED, unit="session-3.scope", identifier="sshd", **fields)
    (record,) = records(forged)
    assert (record.act, record.outcome, record.unit) == ("journal.refused", "refused", "session-3.scope")
    assert record.account == f"uid {forged.uid}"
    assert record.detail["reason"] == "claims to be of sshd, and is not by its unit, program and user"


def test_the_end_of_a_session_counts_where_journald_came_too_late_to_see_more_than_root() -> None:
    end = line(
        "pam_unix(sshd:session): session closed for user kim", unit="", exe="", comm="", identifier="sshd-session"
    )
    assert [each.act for each in records(end)] == ["ssh.logout"]
    assert [each.act for each in records(replace(end, uid=1000))] == ["journal.refused"]
    assert records(replace(end, identifier="cron")) == []


def test_a_forged_line_of_dovecot_is_no_login() -> None:
    fields = {"original_user": CLERK, "remote_ip": "192.0.2.7", "protocol": "imap", "success": "yes"}
    message = "stats: " + json.dumps({"event": "auth_request_finished", "fields": fields})
    genuine = line(message, unit="dovecot.service", exe="/usr/lib/dovecot/log", identifier="dovecot")
    assert [each.act for each in records(genuine)] == ["imap.login"]
    for change in ({"unit": "session-1.scope"}, {"exe": "/usr/bin/logger"}, {"unit": "dovecot.service.evil.scope"}):
        assert [each.act for each in records(replace(genuine, **change))] == ["journal.refused"]


def test_a_stranger_with_nothing_to_say_is_no_record() -> None:
    assert records(line("hello", exe="/usr/bin/logger"), line(ACCEPTED, 2, exe="/usr/bin/logger", identifier="x")) == []


def test_a_program_that_postgresql_starts_is_not_postgresql() -> None:
    said = (
        "postgres@sensmail [local] LOG:  AUDIT: OBJECT,1,1,READ,SELECT,TABLE,accounts.subject,<not logged>,<not logged>"
    )
    fields = {"unit": "postgresql@17-main.service", "identifier": "postgres", "uid": 102}
    program = "/usr/lib/postgresql/17/bin/postgres"
    assert [each.act for each in records(line(said, exe=program, **fields))] == ["data.read"]
    assert [each.act for each in records(line(said, exe="/usr/bin/logger", **fields))] == ["journal.refused"]


def test_many_refused_lines_of_one_sender_are_one_record() -> None:
    forged = [line(ACCEPTED, number, exe="/usr/bin/logger", identifier="sshd") for number in range(1, 2001)]
    (record,) = records(*forged)
    assert record.detail["count"] == 2000


# names


def test_known_names_are_kept_with_the_id_of_the_person() -> None:
    message = f"4jZ4xn4tJZzHby5: client=unknown[192.0.2.7], sasl_method=PLAIN, sasl_username={CLERK}"
    (record,) = records(line(message, unit="postfix.service", exe="/usr/lib/postfix/sbin/smtpd"))
    assert (record.account, record.subject, record.origin) == (CLERK, CLERKS_ID, "192.0.2.7")
    assert NAMES.account("Clerk+x@Sensmail.test", Kind.MAIL, {CLERK: CLERKS_ID}) == (CLERK, CLERKS_ID)


@pytest.mark.parametrize("typed", ["hunter2", "my secret pass", "비밀번호", "root "])
def test_a_mistyped_password_is_kept_as_a_keyed_digest_only(typed: str) -> None:
    (record,) = records(line(FAILED.format(typed)))
    digest = hmac.new(KEY, typed.casefold().encode(), hashlib.sha256).hexdigest()[:32]
    assert record.account == f"unknown:{digest}"
    assert typed not in repr(record)
    plain = hashlib.sha256(typed.encode()).hexdigest()
    assert plain[:16] not in repr(record), "without the key, names could be tried"


def test_a_refused_line_is_not_quoted() -> None:
    (record,) = records(line("Failed hunter2"))
    assert record.act == "journal.refused"
    assert "hunter2" not in repr(record)


# what is missing


def test_a_jump_is_looked_at_again_and_then_a_gap() -> None:
    first, later = line(ACCEPTED, 5), line(ACCEPTED, 9)
    once = reading()
    once.take(first)
    with pytest.raises(LookAgain):
        once.take(later)
    again = reading(first.position, looked=first.position)
    again.take(first)
    again.take(later)
    gap, login = again.finish(people)
    assert (gap.act, gap.outcome) == ("journal.gap", "failed")
    assert {key: gap.detail[key] for key in ("first", "last", "count")} == {"first": 6, "last": 8, "count": 3}
    assert login.act == "ssh.login"


def test_a_place_that_is_gone_is_a_gap() -> None:
    gone = line(ACCEPTED, 5)
    other = line(ACCEPTED, 3)
    other = replace(other, position=replace(other.position, stream="b" * 32, cursor=other.position.cursor + "0"))
    found = reading(gone.position)
    found.take(other)
    assert [each.act for each in found.finish(people)] == ["journal.gap", "journal.begin", "ssh.login"]


def test_lines_before_the_place_are_not_taken_twice() -> None:
    place = line(ACCEPTED, 5).position
    assert [each.act for each in records(line(ACCEPTED, 4), line(ACCEPTED, 5), line(ACCEPTED, 6), after=place)] == [
        "ssh.login"
    ]


def test_what_journald_drops_is_a_gap() -> None:
    fields = {"unit": "systemd-journald.service", "transport": "driver", "message_id": DROPPED, "exe": ""}
    dropped = replace(line("Suppressed 7 messages from a.service", **fields), dropped=7, about="a.service")
    (gap,) = records(dropped)
    assert (gap.act, gap.detail["count"], gap.detail["from"]) == ("journal.gap", 7, "a.service")
    assert records(replace(dropped, transport="syslog")) == [], "anybody can say so"
    damaged = "File /var/log/journal/x/system.journal corrupted or uncleanly shut down, renaming and replacing."
    assert [each.act for each in records(line(damaged, **fields | {"message_id": ""}))] == ["journal.gap"]


# the clock


@pytest.mark.parametrize(
    ("at", "step", "word"),
    [
        (NOW, 0, "synchronised"),
        (NOW - 3_600_000_000, 0, "unknown"),
        (NOW + 3_600_000_000, 0, "synchronised_ahead"),
        (NOW, 5_000_000, "synchronised_stepped"),
    ],
)
def test_a_record_says_what_is_known_of_its_clock(at: int, step: int, word: str) -> None:
    place = replace(line(ACCEPTED).position, time=at)
    assert Clock(lambda: clock.SYNCHRONISED, lambda: NOW).says(place, step) == word


@pytest.mark.parametrize("seconds", [-7200, 90])
def test_a_step_of_the_clock_is_a_record(seconds: int) -> None:
    before, after = line(ACCEPTED, 1), line(ACCEPTED, 2)
    moved = replace(after.position, time=after.position.time + seconds * 1_000_000)
    _, step, login = records(before, replace(after, position=moved))
    assert (step.act, step.detail) == ("clock.step", {"seconds": seconds})
    assert login.acted_at == moved.at, "the time is kept as it was said"
    assert login.clock in ("synchronised_stepped", "unknown_stepped", "synchronised_ahead")


def test_a_clock_that_nobody_can_ask_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda *_, **__: type("C", (), {"adjtimex": lambda *_: -1}))
    assert clock.kernel_state(tmp_path / "absent") == clock.UNKNOWN
    (tmp_path / "there").touch()
    assert clock.kernel_state(tmp_path / "there") == clock.SYNCHRONISED


# sessions


def test_the_end_of_a_session_has_the_origin_of_its_login() -> None:
    end = line("pam_unix(sshd:session): session closed for user kim", 2)
    login, logout = records(line(ACCEPTED), end)
    assert (logout.act, logout.account, logout.origin) == ("ssh.logout", "kim", "192.0.2.7")
    assert login.detail["session"] == logout.detail["session"]
    (other,) = records(replace(end, pid=8))
    assert other.origin == ""


# what does not fit


def test_long_and_unprintable_text_is_cut_with_a_mark() -> None:
    agent = "x\0\n\x1b" + "y" * 5000
    request = {"addr": "192.0.2.7", "method": "GET", "path": "/", "status": 200, "agent": agent}
    (record,) = records(line("sensmail:" + json.dumps(request), unit="nginx.service", exe="/usr/sbin/nginx", uid=33))
    assert len(record.client) == 200
    assert record.client.startswith("x\ufffd\ufffd\ufffdyyy")
    assert record.client.endswith("…")


def test_a_number_beyond_what_json_knows_is_cut() -> None:
    fields = {"unit": "systemd-journald.service", "transport": "driver", "message_id": DROPPED, "exe": ""}
    (gap,) = records(replace(line("Suppressed", **fields), dropped=10**18))
    assert gap.detail["count"] == 2**53 - 1


def test_a_line_too_long_for_journalctl_is_refused() -> None:
    (record,) = records(line(None))
    assert record.detail["reason"] == "sshd: a line of more than 4096 bytes"


def test_a_fault_of_a_parser_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "read", lambda line: 1 / 0)
    (record,) = records(line(ACCEPTED))
    assert record.detail["reason"] == "fault of the collector: ZeroDivisionError"


CURSOR = line("").position.cursor
VALUES = st.none() | st.text() | st.lists(st.integers(0, 255)) | st.lists(st.text()) | st.integers()


@given(st.dictionaries(st.sampled_from(["MESSAGE", "_UID", "_PID", "_EXE", "_SYSTEMD_UNIT", "N_DROPPED", "x"]), VALUES))
def test_any_fields_are_a_line(fields: dict[str, Any]) -> None:
    found = parse(json.dumps({"__CURSOR": CURSOR} | fields).encode())
    assert found.position.number == 1
    assert isinstance(sources.read(found), Act | Refused | None)


@given(st.binary())
def test_what_is_no_line_is_named(data: bytes) -> None:
    with pytest.raises((NoLine, StrangeCursor)):
        parse(data)


def test_a_cursor_of_another_form_is_not_read_past() -> None:
    with pytest.raises(StrangeCursor):
        parse(b'{"__CURSOR": "v=2;n=7", "MESSAGE": "x"}')
