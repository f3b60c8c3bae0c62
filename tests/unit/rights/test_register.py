"""The register: dates filled in once, nothing changed or removed, whoever tries."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sensmail.rights.register import ROLE
from sensmail.store import SUPERUSER, Connection
from unit.rights.conftest import Site

Open = Callable[[str], Connection]
CHANGES = (
    "UPDATE records.access_right SET holder = 'x'",
    "UPDATE records.access_right SET until = until + interval '1 year'",
    "UPDATE records.access_right SET until = NULL",
    "UPDATE records.access_right SET terms = array_append(terms, 'ssh-ed25519 AAAA')",
    "UPDATE records.access_right SET terms = '{}'",
    "UPDATE records.access_right SET granted = now()",
    "UPDATE records.access_right SET granted = NULL",
    "DELETE FROM records.access_right",
    "TRUNCATE records.access_right",
)


@pytest.fixture
def granted(site: Site) -> Site:
    site.desk.ensure(site.wanted())
    return site


@pytest.mark.parametrize("replica", [False, True])
@pytest.mark.parametrize("statement", CHANGES)
def test_nothing_that_stands_is_changed_not_even_by_a_superuser(granted: Site, statement: str, replica: bool) -> None:
    before = granted.desk.register.lines()
    if replica:
        granted.admin.execute("SET session_replication_role = replica")
    with pytest.raises(psycopg.errors.RestrictViolation, match="register of rights is not changed or removed"):
        granted.admin.execute(statement)
    assert granted.desk.register.lines() == before


@pytest.mark.parametrize("statement", CHANGES)
def test_its_own_role_may_not_even_try_most(granted: Site, session: Open, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RestrictViolation)):
        session(ROLE).execute(statement)


@pytest.mark.parametrize("role", ["sensmail-jobs", "sensmail-keyd", "postfix", "dovecot"])
@pytest.mark.parametrize("query", ["SELECT * FROM records.access_right", "SELECT * FROM accounts.portal_role"])
def test_nobody_else_reads_it(granted: Site, session: Open, role: str, query: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session(role).execute(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name, emergency_email FROM accounts.subject",
        "SELECT password_hash FROM accounts.subject",
        "UPDATE accounts.subject SET state = 'active'",
        "SELECT * FROM records.inbox",
        'INSERT INTO records.access_right (id, kind, scope, account, "right", holder, reason) '
        "VALUES (gen_random_uuid(), 'portal', 's', 'a', 'r', 'h', 'r')",
        'INSERT INTO records.access_right (granted, kind, scope, account, "right", holder, reason) '
        "VALUES (now(), 'portal', 's', 'a', 'r', 'h', 'r')",
        "SET ROLE sensmail_owner",
        "CREATE ROLE x",
    ],
)
def test_the_role_of_the_register_sees_no_personal_item(granted: Site, session: Open, query: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session(ROLE).execute(query)


@pytest.mark.parametrize(
    "changes",
    [
        "holder = ''", "approver = ''", "approver = holder", "until = NULL", "reason = ''", "holder = E'a\\nb'",
        "kind = 'king'", "revoked = now()", "void = now()", "changed = now() - interval '1 day'",
    ],
)  # fmt: skip
def test_the_table_refuses_what_the_code_never_writes(granted: Site, session: Open, changes: str) -> None:
    admin = session(SUPERUSER)
    admin.execute("ALTER TABLE records.access_right DISABLE TRIGGER fills_once")
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        admin.execute(f"UPDATE records.access_right SET {changes}")


def test_one_term_of_a_right_is_in_force(granted: Site) -> None:
    columns = 'kind, scope, account, "right", holder, until, reason, approver, asked, granted'
    copy = f"INSERT INTO records.access_right ({columns}) SELECT {columns} FROM records.access_right"
    with pytest.raises(psycopg.errors.UniqueViolation):
        granted.admin.execute(copy)


def test_what_the_law_still_asks_for_is_not_deleted_by_a_wrong_period(granted: Site) -> None:
    granted.desk.revoke(granted.wanted().right, "has left")
    with pytest.raises(psycopg.errors.RestrictViolation):
        granted.desk.register.prune(-1)
