"""Accounts against a real PostgreSQL, as the role that modules and commands use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from sensmail import accounts
from sensmail.accounts import AccountError, Outcome, app_password, repository
from sensmail.store import SUPERUSER, Connection

Open = Callable[[str], Connection]
TENANT = {"name": "기관", "domains": ["example.kr"]}
SECRET = "correct horse battery 1"


@pytest.fixture
def jobs(session: Open) -> Connection:
    return session(accounts.ROLE)


def run(connection: Connection, *, check: bool = False, **wanted: Any) -> Outcome:
    return accounts.ensure(connection, accounts.wanted(**{"tenants": [TENANT]} | wanted), check=check)


def mailbox(**values: Any) -> dict[str, Any]:
    return {"address": "hong@example.kr"} | values


def test_everything_in_one_call_then_nothing_in_the_next(jobs: Connection) -> None:
    wanted: dict[str, Any] = {
        "accounts": [mailbox(quota="1G", password=SECRET, app_passwords=[{"label": "phone"}])],
        "aliases": [{"address": "info@example.kr", "targets": ["hong@example.kr", "a@elsewhere.kr"]}],
    }
    first = run(jobs, **wanted)
    assert first.before == ""
    assert first.after.splitlines() == [
        "tenant 기관: contract open to open",
        "domain example.kr: tenant 기관",
        "mailbox hong@example.kr: state active",
        "mailbox hong@example.kr: quota 1073741824 bytes",
        "mailbox hong@example.kr: send limit 200 an hour",
        "mailbox hong@example.kr: new account password",
        "mailbox hong@example.kr app password 'phone': opens imap, smtp",
        "mailbox hong@example.kr app password 'phone': expires never",
        "alias info@example.kr: a@elsewhere.kr",
        "alias info@example.kr: hong@example.kr",
    ]
    assert [item.label for item in first.issued] == ["phone"]
    assert run(jobs, **wanted) == Outcome((), "", "")


def test_check_mode_says_the_same_and_changes_nothing(jobs: Connection) -> None:
    wanted: dict[str, Any] = {"accounts": [mailbox(password=SECRET, app_passwords=[{"label": "phone"}])]}
    announced = run(jobs, check=True, **wanted)
    assert accounts.listing(jobs) == []
    assert announced.issued == ()
    done = run(jobs, **wanted)
    assert (announced.before, announced.after) == (done.before, done.after)


def test_differences_are_exact(jobs: Connection) -> None:
    run(jobs, accounts=[mailbox(quota="1G", app_passwords=[{"label": "phone", "scope": ["imap"]}])])
    changed = run(
        jobs,
        accounts=[mailbox(quota="2G", app_passwords=[{"label": "phone", "scope": ["imap"], "expires": "2030-01-01"}])],
    )
    assert changed.before == (
        "mailbox hong@example.kr: quota 1073741824 bytes\nmailbox hong@example.kr app password 'phone': expires never\n"
    )
    assert changed.after == (
        "mailbox hong@example.kr: quota 2147483648 bytes\n"
        "mailbox hong@example.kr app password 'phone': expires 2030-01-01T15:00+00:00\n"
    )
    assert changed.issued == ()


def test_values_left_out_stay(jobs: Connection) -> None:
    phone = {"label": "phone", "scope": ["imap"]}
    full = mailbox(quota="1G", send_limit_per_hour=7, app_passwords=[phone | {"expires": "2030-01-01"}])
    run(jobs, accounts=[full])
    assert run(jobs, accounts=[mailbox()]).changes == ()
    assert run(jobs, accounts=[mailbox(app_passwords=[phone])]).changes == ()


def test_all_or_nothing(jobs: Connection) -> None:
    with pytest.raises(AccountError, match=r"domain other.kr of kim@other.kr belongs to no tenant"):
        run(jobs, accounts=[mailbox(), {"address": "kim@other.kr"}])
    assert accounts.listing(jobs) == []


def test_failure_in_the_database_rolls_everything_back(jobs: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_password, "generate", lambda: app_password.AppPassword("UPPERCASE", "x", "y"))
    with pytest.raises(psycopg.errors.CheckViolation):
        run(jobs, accounts=[mailbox(app_passwords=[{"label": "phone"}])])
    assert accounts.listing(jobs) == []


def test_account_password(jobs: Connection) -> None:
    run(jobs, accounts=[mailbox(password=SECRET)])
    assert accounts.verify_password(jobs, "hong@example.kr", SECRET)
    assert not accounts.verify_password(jobs, "hong@example.kr", SECRET + "x")
    assert not accounts.verify_password(jobs, "nobody@example.kr", SECRET)
    on_create = mailbox(password="another pass 2")
    assert run(jobs, accounts=[on_create]).changes == ()
    assert run(jobs, accounts=[on_create | {"update_password": "always"}]).after == (
        "mailbox hong@example.kr: new account password\n"
    )
    assert run(jobs, accounts=[on_create | {"update_password": "always"}]).changes == ()
    assert accounts.verify_password(jobs, "hong@example.kr", "another pass 2")
    with pytest.raises(AccountError, match="must have 10 to 256"):
        run(jobs, accounts=[mailbox(password="short", update_password="always")])


def test_no_secret_in_anything_that_is_shown(jobs: Connection) -> None:
    wanted = accounts.wanted(tenants=[TENANT], accounts=[mailbox(password=SECRET, app_passwords=[{"label": "phone"}])])
    outcome = accounts.ensure(jobs, wanted)
    stored = repository.mailboxes(jobs)["hong@example.kr"]
    shown = repr((wanted, outcome, stored)) + outcome.before + outcome.after
    assert SECRET not in shown
    assert outcome.issued[0].token not in shown
    assert "argon2" not in shown


def test_retired_and_back(jobs: Connection) -> None:
    run(jobs, accounts=[mailbox(app_passwords=[{"label": "phone"}], password=SECRET)])
    gone = run(jobs, accounts=[mailbox(state="absent")])
    assert gone.after == "mailbox hong@example.kr: state retired\n"
    assert "app password 'phone': opens imap, smtp" in gone.before
    assert not accounts.verify_password(jobs, "hong@example.kr", SECRET)
    assert run(jobs, accounts=[mailbox(state="absent")]).changes == ()
    back = run(jobs, accounts=[mailbox(app_passwords=[{"label": "phone"}])])
    assert len(back.issued) == 1


def test_absent_account_that_never_was(jobs: Connection) -> None:
    assert run(jobs, tenants=[TENANT], accounts=[mailbox(state="absent")]).after.count("mailbox") == 0


@pytest.mark.parametrize("state", ["due", "destroyed"])
def test_data_on_its_way_to_destruction_stays_there(session: Open, jobs: Connection, state: str) -> None:
    run(jobs, accounts=[mailbox()])
    session(SUPERUSER).execute("UPDATE accounts.subject SET state = %s, retired_at = now()", (state,))
    with pytest.raises(AccountError, match=rf"hong@example\.kr is {state}: .* choose another address"):
        run(jobs, accounts=[mailbox()])
    assert run(jobs, accounts=[mailbox(state="absent")]).changes == ()


def test_domain_of_another_tenant(jobs: Connection) -> None:
    run(jobs)
    with pytest.raises(AccountError, match=r"domain example\.kr belongs to tenant '기관', not to 'other'"):
        run(jobs, tenants=[{"name": "other", "domains": ["example.kr"]}])


def test_contract_dates(jobs: Connection) -> None:
    run(jobs, tenants=[TENANT | {"contract_start": "2026-01-01"}])
    after = run(jobs, tenants=[TENANT | {"contract_end": "2027-12-31"}])
    assert after.before == "tenant 기관: contract 2026-01-01 to open\n"
    assert after.after == "tenant 기관: contract 2026-01-01 to 2027-12-31\n"
    with pytest.raises(AccountError, match="contract_end 2025-01-01 is before contract_start 2026-01-01"):
        run(jobs, tenants=[TENANT | {"contract_end": "2025-01-01"}])


def test_alias_and_mailbox_never_share_a_name(jobs: Connection) -> None:
    run(jobs, accounts=[mailbox()])
    with pytest.raises(AccountError, match=r"hong@example\.kr is a mailbox and cannot be an alias too"):
        run(jobs, aliases=[{"address": "hong@example.kr", "targets": ["x@y.kr"]}])
    run(jobs, aliases=[{"address": "info@example.kr", "targets": ["x@y.kr"]}])
    with pytest.raises(AccountError, match=r"info@example\.kr is a mailbox and cannot be an alias too"):
        run(jobs, accounts=[{"address": "info@example.kr"}])
    removed = run(jobs, accounts=[{"address": "info@example.kr"}], aliases=[{"address": "info@example.kr"}])
    assert removed.before == "alias info@example.kr: x@y.kr\n"


def test_issue_and_revoke(jobs: Connection) -> None:
    run(jobs, accounts=[mailbox()])
    new = accounts.issue(jobs, "hong@example.kr", accounts.device({"label": "laptop", "scope": ["imap"]}))
    assert new.token.startswith(new.selector)
    with pytest.raises(AccountError, match=rf"has app password 'laptop' already \({new.selector}\)"):
        accounts.issue(jobs, "hong@example.kr", accounts.device({"label": "laptop"}))
    assert accounts.revoke(jobs, new.selector) == ("hong@example.kr", "laptop")
    with pytest.raises(AccountError, match="no living app password"):
        accounts.revoke(jobs, new.selector)
    assert accounts.issue(jobs, "hong@example.kr", accounts.device({"label": "laptop"})).selector != new.selector
    with pytest.raises(AccountError, match="is not there; app passwords are for active"):
        accounts.issue(jobs, "kim@example.kr", accounts.device({"label": "laptop"}))


def test_two_calls_at_once_make_one_of_each(session: Open) -> None:
    connections = [session(accounts.ROLE) for _ in range(4)]
    issued: list[int] = []
    errors: list[BaseException] = []

    def work(connection: Connection) -> None:
        try:
            issued.append(len(run(connection, accounts=[mailbox(app_passwords=[{"label": "phone"}])]).issued))
        except BaseException as error:  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert errors == []
    assert sorted(issued) == [0, 0, 0, 1]
