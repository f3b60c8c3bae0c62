"""Rights without a record and records without a right, each made as somebody would make it by hand."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sensmail.cli import rights_show
from sensmail.rights import logins
from sensmail.rights.logins import Logins
from sensmail.rights.model import Right
from sensmail.rights.reconcile import Finding, Report, reconcile
from sensmail.rights.terms import Terms
from unit.rights.conftest import KEY, OTHER_KEY, TENANT, Site

SEEN = Logins({}, ("/var/log/lastlog",))


def look(site: Site) -> Report:
    return reconcile(site.desk, SEEN)


def only(site: Site) -> Finding:
    (finding,) = look(site).findings
    return finding


@pytest.fixture
def granted(site: Site) -> Site:
    for kind in ("operator", "sudo", "database", "portal"):
        site.desk.ensure(site.wanted(kind))  # type: ignore[arg-type]
    assert look(site).clean
    assert look(site).recorded == 4
    return site


def test_a_host_without_persons_is_clean(site: Site) -> None:
    report = look(site)
    assert (report.clean, report.recorded) == (True, 0)


def own_keys(site: Site, home: str, name: str = "authorized_keys") -> None:
    directory = site.host.root / home / ".ssh"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f'from="198.51.100.0/24",no-pty {OTHER_KEY} friend\n')


def shadow(site: Site, old: str, new: str) -> None:
    file = site.host.root / "etc/shadow"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


BY_HAND: dict[str, tuple[Callable[[Site], object], str, str, str]] = {
    "useradd": (lambda s: s.host.change("useradd", "mallory"), "unrecorded", "mallory", "operator mallory on mail"),
    "a second root": (lambda s: s.host.change("useradd", "-o", "-u", "0", "toor"), "unrecorded", "toor", "uid 0"),
    "a key of root": (lambda s: own_keys(s, "root"), "unrecorded", "root", "SHA256:"),
    "a key of a service": (lambda s: own_keys(s, "var/lib/postgresql"), "unrecorded", "postgres", "SHA256:"),
    "a password of root": (lambda s: shadow(s, "root:*", "root:$y$x"), "unrecorded", "root", "password"),
    "an empty password": (lambda s: shadow(s, "root:*", "root:"), "unrecorded", "root", "password"),
    "a key in a home": (lambda s: own_keys(s, "home/kim"), "differs", "kim", "more: ssh-ed25519 SHA256:"),
    "a key in the old file": (lambda s: own_keys(s, "home/kim", "authorized_keys2"), "differs", "kim", "more"),
    "a key among those of root": (lambda s: s.keys().write_text(f"{KEY}\n{OTHER_KEY}\n"), "differs", "kim", "more"),
    "keys gone": (lambda s: s.keys().unlink(), "differs", "kim", "less: ssh-ed25519 SHA256:"),
    "a password": (lambda s: shadow(s, "kim:*", "kim:$y$x"), "differs", "kim", "more: password"),
    "a later end": (lambda s: s.host.change("usermod", "-e", "2099-01-01", "kim"), "differs", "kim", "ends 47117"),
    "no end": (lambda s: s.host.change("usermod", "-e", "", "kim"), "differs", "kim", "ends never"),
    "a sudoers file": (
        lambda s: (s.host.root / "etc/sudoers.d/x").write_text("mallory ALL=(root) /bin/sh\n"),
        "unrecorded", "mallory", "/bin/sh",
    ),
    "a sudoers alias": (
        lambda s: (s.host.root / "etc/sudoers.d/x").write_text("User_Alias U = mallory\nU ALL = NOPASSWD: ALL\n"),
        "unrecorded", "mallory", "ALL",
    ),
    "sudo for everybody": (
        lambda s: (s.host.root / "etc/sudoers.d/x").write_text("ALL ALL=(postgres) /bin/psql\n"),
        "unrecorded", "ALL", "/bin/psql as postgres",
    ),
    "the group sudo": (lambda s: s.host.change("usermod", "-aG", "sudo", "kim"), "differs", "kim", "more: ALL"),
    "the group sudo, first": (lambda s: s.host.change("usermod", "-g", "sudo", "kim"), "differs", "kim", "more: ALL"),
    "a longer rule": (
        lambda s: s.rule().write_text(s.rule().read_text().replace("NOTAFTER=2", "NOTAFTER=3")),
        "differs", "kim", "instead of",
    ),
    "a wider rule": (
        lambda s: (s.rule().chmod(0o640), s.rule().write_text("kim ALL=(root) NOPASSWD: ALL\n")),
        "differs", "kim", "more: ALL",
    ),
    "no rule": (lambda s: s.rule().unlink(), "missing", "kim", "recorded as number"),
    "a login role": (lambda s: s.admin.execute("CREATE ROLE mallory LOGIN"), "unrecorded", "mallory", "login"),
    "a superuser": (lambda s: s.admin.execute("CREATE ROLE mallory SUPERUSER"), "unrecorded", "mallory", "superuser"),
    "a bypass": (lambda s: s.admin.execute("ALTER ROLE kim BYPASSRLS"), "unrecorded", "kim", "bypassrls"),
    "a membership": (lambda s: s.admin.execute("GRANT sensmail_owner TO kim"), "unrecorded", "kim", "sensmail_owner"),
    "a predefined role": (lambda s: s.admin.execute("GRANT pg_monitor TO kim"), "unrecorded", "kim", "pg_monitor"),
    "the right to grant": (
        lambda s: s.admin.execute("GRANT sensmail_auditor TO kim WITH ADMIN OPTION"), "differs", "kim", "may grant it",
    ),
    "a grant": (
        lambda s: s.admin.execute("GRANT SELECT ON accounts.subject TO kim"),
        "unrecorded", "kim", "select on relation accounts.subject",
    ),
    "a grant of a column": (
        lambda s: s.admin.execute("GRANT SELECT (address) ON accounts.subject TO kim"),
        "unrecorded", "kim", "select on column accounts.subject.address",
    ),
    "a grant to all": (
        lambda s: s.admin.execute("GRANT SELECT ON accounts.subject TO PUBLIC"),
        "unrecorded", "public", "select on relation accounts.subject",
    ),
    "a revoke": (
        lambda s: s.admin.execute("REVOKE sensmail_auditor FROM kim; ALTER ROLE kim NOLOGIN"),
        "missing", "kim", "not there",
    ),
    "a row of the portal": (
        lambda s: s.admin.execute(
            "INSERT INTO accounts.portal_role SELECT subject_id, tenant_id, 'privacy_officer', until "
            "FROM accounts.portal_role"
        ),
        "unrecorded", "", "privacy_officer",
    ),
    "a longer role of the portal": (
        lambda s: s.admin.execute("UPDATE accounts.portal_role SET until = until + interval '1 year'"),
        "differs", "", "ends",
    ),
    "no row of the portal": (lambda s: s.admin.execute("DELETE FROM accounts.portal_role"), "missing", "", "not there"),
    "a holder who retired": (
        lambda s: s.admin.execute("UPDATE accounts.subject SET state = 'retired', retired_at = now()"),
        "differs", "", "more: retired",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_what_was_done_by_hand_is_found(granted: Site, name: str) -> None:
    act, what, account, words = BY_HAND[name]
    act(granted)
    finding = only(granted)
    assert finding.what == what
    assert finding.right is not None
    assert finding.right.account == (account or str(granted.subject))
    assert words in f"{finding.right} {finding.found}"
    assert finding.fix


def test_a_role_of_a_service_that_got_more_is_found(granted: Site) -> None:
    granted.admin.execute("GRANT sensmail_owner TO dovecot")
    try:
        assert only(granted).right == Right("database", granted.database, "dovecot", "sensmail_owner")
    finally:
        granted.admin.execute("REVOKE sensmail_owner FROM dovecot")


def test_a_link_or_pipe_in_a_home_is_reported_and_not_waited_for(granted: Site) -> None:
    own = granted.host.root / "home/kim/.ssh"
    own.mkdir()
    os.mkfifo(own / "authorized_keys")
    (own / "authorized_keys2").symlink_to("/etc/shadow")
    assert only(granted).what == "differs"
    assert "no plain file" in only(granted).found
    assert "root:" not in only(granted).found


def test_declared_rights_are_no_findings_as_long_as_they_are_no_more(granted: Site) -> None:
    granted.host.change("useradd", "--create-home", "ops")
    own_keys(granted, "home/ops")
    assert look(granted).clean
    with (granted.host.root / "home/ops/.ssh/authorized_keys").open("a") as file:
        file.write(f"{KEY}\n")
    assert "more than is declared" in only(granted).found
    assert only(granted).right == Right("operator", "mail", "ops", "login")


def test_what_has_passed_its_end_is_overdue_until_the_timer_comes(granted: Site) -> None:
    end = granted.wanted().until
    granted.desk.now = lambda: end + timedelta(seconds=1)
    assert {each.what for each in look(granted).findings} == {"overdue"}
    granted.desk.expire()
    assert look(granted).clean


def lastlog(site: Site, account: str, moment: datetime) -> None:
    record = struct.pack("=I32s256s", int(moment.timestamp()), b"pts/0", b"198.51.100.7")
    with (site.host.root / "var/log/lastlog").open("wb") as file:
        file.seek(site.host.accounts()[account].uid * len(record))
        file.write(record)


def test_unused_accounts_are_dormant(granted: Site) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    assert logins.read(granted.host.accounts(), granted.host.root).sources == ()
    lastlog(granted, "kim", now - timedelta(days=300))
    seen = logins.read(granted.host.accounts(), granted.host.root)
    assert seen == Logins({"kim": now - timedelta(days=300)}, ("/var/log/lastlog",))
    assert reconcile(granted.desk, seen).clean  # granted today: it had no time to be unused
    granted.desk.now = lambda: now + timedelta(days=80)
    assert reconcile(granted.desk, seen).clean
    soon = Terms("privacy_officer", 365, 60, 1827)
    granted.desk.terms = soon
    (finding,) = reconcile(granted.desk, seen).findings
    assert finding.what == "dormant"
    assert f"last login {now - timedelta(days=300):%Y-%m-%d}" in finding.found

    database = granted.host.root / "var/lib/lastlog"
    database.mkdir(parents=True)
    with sqlite3.connect(database / "lastlog2.db") as made:
        made.execute("CREATE TABLE Lastlog2 (Name TEXT PRIMARY KEY, Time INTEGER)")
        made.execute("INSERT INTO Lastlog2 VALUES ('kim', ?)", (int((now + timedelta(days=40)).timestamp()),))
    made.close()
    seen = logins.read(granted.host.accounts(), granted.host.root)
    assert (seen.last["kim"], len(seen.sources)) == (now + timedelta(days=40), 2)
    assert reconcile(granted.desk, seen).clean


def test_without_any_file_of_logins_it_says_not_assessed(granted: Site) -> None:
    (finding,) = reconcile(granted.desk, Logins({}, ())).findings
    assert finding.what == "not_assessed"


def test_the_report_is_for_people_and_programs(granted: Site) -> None:
    granted.host.change("useradd", "mallory")
    report = look(granted)
    text, data = rights_show.report_text(report), json.loads(rights_show.report_json(report))
    assert "[기록 없는 권한 / right without a record] operator mallory on mail: login" in text
    assert "지적 1건 / 1 findings" in text
    assert (data["clean"], data["recorded"]) == (False, 4)
    assert data["findings"][0]["right"] == {
        "kind": "operator", "scope": "mail", "account": "mallory", "right": "login"
    }  # fmt: skip
    assert "김운영" not in text + str(data)
    rows = granted.desk.register.lines()
    shown = rights_show.lines_text(rows)
    assert "김운영" in shown
    assert TENANT in shown
    sheet = rights_show.lines_csv(rows)
    assert sheet.startswith("\ufeff번호 / number,")
    assert "AAAA" not in sheet
