"""Opening a person's items: recorded first with its reason, refused by the key service, printed by the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sensmail import accounts
from sensmail.accounts import AccountError, sealing
from sensmail.cli import main
from sensmail.keyd.errors import Refused, Unavailable
from sensmail.keyd.protocol import Actor
from sensmail.store import Connection, Settings
from unit.keyd.conftest import Site, make_site

Open = Callable[[str], Connection]
HONG = "hong@example.kr"
ITEMS = {"name": "민원 담당자", "emergency_email": "hong@elsewhere.test", "position": "과장"}
ACTOR = Actor("officer", "192.0.2.7", "test")
RECORD = "act, account, origin, client, purpose, outcome, detail->>'reason', detail->'fields'"


@pytest.fixture
def site(configured: Settings, document: dict[str, Any], tmp_path: Path) -> Iterator[Site]:
    """A key service whose records are in the test's own database, as on one host."""
    made = make_site(tmp_path / "k", configured)
    made.unit = "session"
    made.policy(document)
    made.start()
    yield made
    if made.process is not None:
        made.stop()


@pytest.fixture
def jobs(site: Site, session: Open, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The accounts' session on the host of `site`, which has one mailbox."""
    monkeypatch.setattr(sealing, "SOCKET", site.socket)
    connection = session(accounts.ROLE)
    tenant = {"name": "기관", "domains": ["example.kr"]}
    accounts.ensure(connection, accounts.wanted(tenants=[tenant], accounts=[{"address": HONG, **ITEMS}]))
    return connection


def records(site: Site) -> list[tuple[Any, ...]]:
    return [row for row in site.rows(RECORD) if row[0] in ("open", "account.show")]


def test_recorded_with_its_reason_then_opened(site: Site, jobs: Connection) -> None:
    shown = accounts.show(jobs, HONG, "request", ACTOR, "열람 청구 접수 17호")
    assert (shown.items, shown.refused) == (ITEMS, {})
    asked, opened = records(site)
    who = ("officer", "192.0.2.7", "test", "request")
    assert asked == ("account.show", *who, "done", "열람 청구 접수 17호", [1, 5, 7])
    assert opened[:6] == ("open", *who, "done")
    assert [value for value in ITEMS.values() if value in repr((shown, records(site)))] == []


def test_a_purpose_of_others_opens_nothing(site: Site, jobs: Connection) -> None:
    with pytest.raises(Refused, match="password_link is not among its purposes"):
        accounts.show(jobs, HONG, "password_link", ACTOR, "curious")
    assert records(site)[0][6] == "curious"


def test_nothing_opens_without_a_record(site: Site, jobs: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("sensmail.keyd.client.KeyService.open_many", lambda *given: asked.append(given))
    with site.superuser() as admin:
        admin.execute('REVOKE INSERT ON records.inbox FROM "sensmail-jobs"')
        admin.execute('REVOKE ALL ON records.inbox FROM "sensmail-jobs"')
    with pytest.raises(Exception, match="permission denied for table inbox"):
        accounts.show(jobs, HONG, "request", ACTOR, "열람 청구")
    assert asked == []


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 1001])
def test_a_reason_is_needed(site: Site, jobs: Connection, reason: str) -> None:
    with pytest.raises(AccountError, match="a reason of 1 to 1000"):
        accounts.show(jobs, HONG, "request", ACTOR, reason)
    assert records(site) == []


def test_no_mailbox_and_no_items(site: Site, jobs: Connection) -> None:
    with pytest.raises(AccountError, match=r"no mailbox kim@example\.kr"):
        accounts.show(jobs, "kim@example.kr", "request", ACTOR, "열람 청구")
    accounts.ensure(jobs, accounts.wanted(accounts=[{"address": "kim@example.kr"}]))
    assert accounts.show(jobs, "kim@example.kr", "request", ACTOR, "열람 청구").items == {}


def test_without_the_key_service(site: Site, jobs: Connection) -> None:
    site.stop()
    with pytest.raises(Unavailable, match=r"is sensmail-keyd\.service running"):
        accounts.show(jobs, HONG, "request", ACTOR, "열람 청구")


def test_the_command(
    site: Site, jobs: Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "officer")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    words = ("account", "show", "Hong@example.kr", "--purpose", "request", "--reason", "열람 청구")
    assert main(words) == 0
    out, error = capsys.readouterr()
    assert (out.splitlines(), error) == ([f"{item}: {value}" for item, value in ITEMS.items()], "")
    who = ("officer", "192.0.2.7", "sensmail account show", "request")
    assert [row[1:5] for row in records(site)] == [who, who]


def test_the_command_for_a_closed_person(site: Site, jobs: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    subject = jobs.execute("SELECT id FROM accounts.subject").fetchone()
    assert subject is not None
    with site.client() as keys:
        keys.close_subjects(list(subject), "officer", "처리정지 요구")
    assert main(("account", "show", HONG, "--purpose", "request", "--reason", "열람 청구")) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert f"sensmail: name of {HONG} does not open: closed" in error.splitlines()
