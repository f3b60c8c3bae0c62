"""Accounts with a real key service: who gets a key when, what is sealed where, and what happens without the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sensmail import accounts
from sensmail.accounts import AccountError, Outcome, app_password, repository
from sensmail.fields import row_key
from sensmail.keyd.errors import Unavailable, UnknownSubject
from sensmail.keyd.policy import NoPolicy
from sensmail.keyd.protocol import Actor, Sealed
from sensmail.store import SUPERUSER, Connection
from unit.keyd.conftest import Site

Open = Callable[[str], Connection]
HONG = "hong@example.kr"
TENANT = {"name": "기관", "domains": ["example.kr"]}
ITEMS: dict[str, Any] = {
    "name": "민원 담당자",
    "emergency_email": "hong@elsewhere.test",
    "department": "민원과",
    "employee_number": "7",
}
FIELD = {"name": 1, "emergency_email": 5, "department": 6, "position": 7, "employee_number": 8}


@pytest.fixture
def jobs(session: Open) -> Connection:
    return session(accounts.ROLE)


def run(connection: Connection, *, check: bool = False, **values: Any) -> Outcome:
    wanted = accounts.wanted(tenants=[TENANT], accounts=[{"address": HONG, **values}])
    return accounts.ensure(connection, wanted, check=check)


def stored(connection: Connection) -> tuple[UUID, dict[str, bytes]]:
    found = repository.envelopes(connection, HONG)
    assert found is not None
    return found.subject, dict(found.items)


def opened(site: Site, connection: Connection) -> dict[str, str]:
    subject, items = stored(connection)
    values = [Sealed(subject, FIELD[item], row_key(subject), envelope) for item, envelope in items.items()]
    with site.client() as keys:
        found = keys.open_many(values, "own_data", Actor("test"))
    assert [each.refusal for each in found] == [""] * len(values)
    return {item: (each.value or b"").decode() for item, each in zip(items, found, strict=True)}


def subjects(site: Site) -> int:
    with site.client() as keys:
        return keys.status().counts["subjects"]


def bare_row(admin: Connection, *, name: bytes | None = None) -> UUID:
    """A row as it was before there was a key service, or after the loss of a key file."""
    made = uuid4()
    admin.execute(
        "INSERT INTO accounts.subject (id, address, tenant_id, state, quota_bytes, send_limit_per_hour, name) "
        "SELECT %s, %s, tenant_id, 'active', 5368709120, 200, %s FROM accounts.domain",
        (made, HONG, name),
    )
    return made


def test_a_new_mailbox_has_the_id_of_its_key(key_site: Site, jobs: Connection) -> None:
    before = subjects(key_site)
    run(jobs)
    assert subjects(key_site) == before + 1
    subject, items = stored(jobs)
    assert items == {}
    with key_site.client() as keys:
        assert keys.census([(subject, 1)])["active"] == 1
    run(jobs, quota="9G")
    assert subjects(key_site) == before + 1


def test_items_are_sealed_at_their_place(key_site: Site, jobs: Connection, session: Open) -> None:
    outcome = run(jobs, **ITEMS)
    assert opened(key_site, jobs) == ITEMS
    row = session(SUPERUSER).execute("SELECT s::text FROM accounts.subject AS s").fetchone()
    shown = repr((row, outcome, accounts.listing(jobs))) + outcome.before + outcome.after
    assert [value for value in ITEMS.values() if len(value) > 1 and value in shown] == []
    assert outcome.after.endswith("".join(f"mailbox {HONG}: {item} sealed\n" for item in ITEMS))


def test_check_mode_says_the_same_and_makes_no_key(key_site: Site, jobs: Connection) -> None:
    before = subjects(key_site)
    announced = run(jobs, check=True, **ITEMS)
    assert subjects(key_site) == before
    assert accounts.listing(jobs) == []
    done = run(jobs, **ITEMS)
    assert (announced.before, announced.after) == (done.before, done.after)


def test_a_stored_item_stays_until_it_is_to_be_replaced(key_site: Site, jobs: Connection) -> None:
    run(jobs, name="담당자")
    _, first = stored(jobs)
    assert run(jobs, name="다른 담당자").changes == ()
    assert stored(jobs)[1] == first
    added = run(jobs, name="다른 담당자", position="과장")
    assert (added.before, added.after) == ("", f"mailbox {HONG}: position sealed\n")
    assert opened(key_site, jobs) == {"name": "담당자", "position": "과장"}
    replaced = run(jobs, name="다른 담당자", update_sealed="always")
    assert replaced.before == f"mailbox {HONG}: name sealed\n"
    assert replaced.after == f"mailbox {HONG}: name sealed anew\n"
    assert opened(key_site, jobs) == {"name": "다른 담당자", "position": "과장"}


def test_a_key_without_a_row_is_harmless(key_site: Site, jobs: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = subjects(key_site)
    with monkeypatch.context() as broken:
        broken.setattr(app_password, "generate", lambda: app_password.AppPassword("UPPERCASE", "x", "y"))
        with pytest.raises(psycopg.errors.CheckViolation):
            run(jobs, **ITEMS, app_passwords=[{"label": "phone"}])
    assert accounts.listing(jobs) == []
    assert subjects(key_site) == before + 1
    run(jobs, **ITEMS)
    assert opened(key_site, jobs) == ITEMS


@pytest.mark.usefixtures("nothing_listens")
def test_nothing_is_written_without_the_key_service(jobs: Connection) -> None:
    with pytest.raises(Unavailable, match=r"no-socket: subjects: .*is sensmail-keyd.service running"):
        run(jobs)
    assert accounts.listing(jobs) == []
    assert jobs.execute("SELECT * FROM accounts.tenant").fetchall() == []
    run(jobs, check=True, **ITEMS)
    accounts.ensure(jobs, accounts.wanted(tenants=[TENANT]))


def test_only_new_subjects_and_items_need_the_key_service(jobs: Connection, request: pytest.FixtureRequest) -> None:
    run(jobs, **ITEMS)
    request.getfixturevalue("nothing_listens")
    assert run(jobs, **ITEMS).changes == ()
    run(jobs, quota="9G", app_passwords=[{"label": "phone"}])
    with pytest.raises(Unavailable, match="seal"):
        run(jobs, name="담당자", update_sealed="always")


def test_a_row_from_before_the_keys_gets_its_key(key_site: Site, jobs: Connection, session: Open) -> None:
    accounts.ensure(jobs, accounts.wanted(tenants=[TENANT]))
    made = bare_row(session(SUPERUSER))
    assert run(jobs, name="담당자").after == f"mailbox {HONG}: name sealed\n"
    assert stored(jobs)[0] == made
    assert opened(key_site, jobs) == {"name": "담당자"}


def test_a_lost_key_is_told_and_not_made_anew(jobs: Connection, session: Open) -> None:
    accounts.ensure(jobs, accounts.wanted(tenants=[TENANT]))
    made = bare_row(session(SUPERUSER), name=b"\x01" + bytes(40))
    with pytest.raises(UnknownSubject, match=made.hex):
        run(jobs, position="과장")
    assert stored(jobs)[1].keys() == {"name"}


@pytest.mark.usefixtures("policy_without")
def test_an_item_that_the_data_map_does_not_name(key_site: Site, jobs: Connection) -> None:
    with pytest.raises(AccountError, match=r"no sealed column accounts\.subject\.emergency_email"):
        run(jobs, **ITEMS)
    assert accounts.listing(jobs) == []
    run(jobs, name="담당자")
    assert opened(key_site, jobs) == {"name": "담당자"}


@pytest.mark.parametrize("text", [None, "", "{}", '{"data_map": [{"table": 1}]}', "[]"])
def test_a_policy_that_cannot_be_read(
    jobs: Connection, text: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensmail.keyd.policy.PATH", tmp_path / "p.json")
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    with pytest.raises(NoPolicy, match=r"p\.json: .*run site\.yml"):
        run(jobs, name="담당자")
    assert accounts.listing(jobs) == []


def test_many_at_once_in_several_calls(key_site: Site, jobs: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensmail.accounts.sealing.MAX_ITEMS", 3)
    people = [{"address": f"p{n}@example.kr", "name": f"담당 {n}", "position": "주무관"} for n in range(7)]
    accounts.ensure(jobs, accounts.wanted(tenants=[TENANT], accounts=people))
    with key_site.client() as keys:
        for person in people:
            found = repository.envelopes(jobs, person["address"])
            assert found is not None
            value = Sealed(found.subject, FIELD["name"], row_key(found.subject), found.items["name"])
            assert keys.open(value, "own_data", Actor("test")).decode() == person["name"]
