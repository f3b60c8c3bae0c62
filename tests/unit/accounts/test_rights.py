"""What each login role can see, shown by trying; and what the tables refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from sensmail import accounts
from sensmail.accounts import Issued, app_password
from sensmail.store import SUPERUSER, Connection

Open = Callable[[str], Connection]
VIEWS = ("mail.domain", "mail.mailbox", "mail.alias", "mail.app_password")
TABLES = ("accounts.tenant", "accounts.domain", "accounts.subject", "accounts.app_password", "accounts.alias")
READABLE = {
    "postfix": {"mail.domain", "mail.mailbox", "mail.alias"},
    "dovecot": {"mail.mailbox", "mail.app_password"},
}


@pytest.fixture
def issued(session: Open) -> Issued:
    wanted = accounts.wanted(
        tenants=[{"name": "t", "domains": ["example.kr"]}],
        accounts=[{"address": "hong@example.kr", "app_passwords": [{"label": "phone", "scope": ["imap"]}]}],
        aliases=[{"address": "info@example.kr", "targets": ["hong@example.kr"]}],
    )
    return accounts.ensure(session(accounts.ROLE), wanted).issued[0]


@pytest.mark.parametrize("role", sorted(READABLE))
@pytest.mark.parametrize("relation", [*VIEWS, *TABLES])
def test_mail_roles_read_their_views_and_nothing_else(session: Open, issued: Issued, role: str, relation: str) -> None:
    query = f"SELECT * FROM {relation}"
    if relation in READABLE[role]:
        assert len(session(role).execute(query).fetchall()) == 1
    else:
        with pytest.raises(InsufficientPrivilege):
            session(role).execute(query)


@pytest.mark.parametrize("role", sorted(READABLE))
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO mail.domain VALUES ('x.kr')",
        "DELETE FROM mail.alias",
        "CREATE TABLE public.t (i int)",
        "CREATE TEMPORARY TABLE t (i int)",
        "CREATE SCHEMA s",
        "SET ROLE sensmail_owner",
        'SET ROLE "sensmail-jobs"',
    ],
)
def test_mail_roles_write_nothing_and_become_nobody(session: Open, role: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        session(role).execute(statement)


@pytest.mark.parametrize("role", sorted(READABLE))
def test_mail_roles_hold_no_right_to_write(session: Open, role: str) -> None:
    for relation in (*VIEWS, *TABLES):
        columns = "has_any_column_privilege(%(role)s, %(name)s, 'INSERT, UPDATE')"
        query = f"SELECT {columns} OR has_table_privilege(%(role)s, %(name)s, 'DELETE, TRUNCATE')"
        values = {"role": role, "name": relation}
        assert session(SUPERUSER).execute(query, values).fetchone() == (False,)


@pytest.mark.parametrize("statement", ["DELETE FROM accounts.subject", "DROP TABLE accounts.alias", "CREATE SCHEMA s"])
def test_jobs_can_neither_delete_people_nor_change_the_schema(session: Open, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        session(accounts.ROLE).execute(statement)


@pytest.mark.parametrize("role", ["postfix", "dovecot"])
def test_sessions_of_the_public_are_refused(session: Open, role: str) -> None:
    admin = session(SUPERUSER)
    row = admin.execute(
        "SELECT count(*) FROM pg_database, aclexplode(datacl) AS a WHERE datname = current_database() AND a.grantee = 0"
    ).fetchone()
    assert row == (0,)
    assert session(role).execute("SELECT session_user").fetchone() == (role,)


def test_views_hold_what_the_mail_services_were_promised(session: Open, issued: Issued) -> None:
    postfix, dovecot = session("postfix"), session("dovecot")
    mailbox = ("hong@example.kr", 5 * 2**30, True, 200)
    query = "SELECT address, quota_bytes, active, send_limit_per_hour FROM mail.mailbox"
    assert postfix.execute(query).fetchall() == dovecot.execute(query).fetchall() == [mailbox]
    assert postfix.execute("SELECT name FROM mail.domain").fetchall() == [("example.kr",)]
    assert postfix.execute("SELECT address, target FROM mail.alias").fetchall() == [
        ("info@example.kr", "hong@example.kr")
    ]
    row = dovecot.execute("SELECT address, selector, hash, scope FROM mail.app_password").fetchone()
    assert row is not None
    assert (row[0], row[1], row[3]) == ("hong@example.kr", issued.selector, ["imap"])
    assert app_password.verify(row[2], issued.token)


def test_views_apply_their_conditions_before_those_of_the_caller(session: Open) -> None:
    """Without the barrier an error message of the caller's own condition can quote a row that the view hides."""
    rows = session(SUPERUSER).execute(
        "SELECT relname, relkind::text, 'security_barrier=true' = ANY (reloptions) FROM pg_class "
        "WHERE relnamespace = 'mail'::regnamespace ORDER BY 1"
    )
    assert rows.fetchall() == [(view.removeprefix("mail."), "v", True) for view in sorted(VIEWS)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts.app_password SET revoked_at = now()",
        "UPDATE accounts.app_password SET expires_at = now()",
        "UPDATE accounts.subject SET state = 'retired', retired_at = now()",
        "UPDATE accounts.subject SET state = 'invited'",
        "UPDATE accounts.tenant SET contract_end = current_date - 2",
    ],
)
def test_app_password_ends_with_everything_it_rests_on(session: Open, issued: Issued, change: str) -> None:
    dovecot = session("dovecot")
    query = "SELECT selector FROM mail.app_password"
    assert dovecot.execute(query).fetchall() == [(issued.selector,)]
    session(accounts.ROLE).execute(change)
    assert dovecot.execute(query).fetchall() == []


def test_mailbox_of_an_ended_contract_or_retired_person_is_inactive(session: Open, issued: Issued) -> None:
    admin, query = session(SUPERUSER), "SELECT active FROM mail.mailbox"
    admin.execute("UPDATE accounts.tenant SET contract_end = (now() AT TIME ZONE 'Asia/Seoul')::date")
    assert admin.execute(query).fetchall() == [(True,)]
    admin.execute("UPDATE accounts.tenant SET contract_end = contract_end - 1")
    assert admin.execute(query).fetchall() == [(False,)]
    admin.execute("UPDATE accounts.subject SET state = 'destroyed', retired_at = now()")
    assert admin.execute(query).fetchall() == []


@pytest.mark.parametrize("column", ["name", "emergency_email", "department", "position", "employee_number"])
def test_personal_items_cannot_be_stored_in_clear(session: Open, issued: Issued, column: str) -> None:
    admin = session(SUPERUSER)
    statement = f'UPDATE accounts.subject SET "{column}" = %s'
    for clear in (b"", "홍길동".encode(), b"\x01short", b"\x01" + bytes(32), b"\x02" + bytes(40)):
        with pytest.raises(CheckViolation):
            admin.execute(statement, (clear,))
    admin.execute(statement, (b"\x01" + bytes(33),))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts.subject SET password_hash = 'secret'",
        "UPDATE accounts.subject SET address = 'Hong@example.kr'",
        "UPDATE accounts.subject SET address = 'a..b@example.kr'",
        "UPDATE accounts.subject SET address = '-rf@example.kr'",
        "UPDATE accounts.subject SET state = 'retired'",
        "UPDATE accounts.app_password SET hash = 'clear'",
        "UPDATE accounts.app_password SET scope = '{}'",
        "UPDATE accounts.app_password SET scope = '{root}'",
        "UPDATE accounts.app_password SET selector = 'ABCDEFGH'",
    ],
)
def test_tables_refuse_what_the_code_would_never_write(session: Open, issued: Issued, statement: str) -> None:
    with pytest.raises(CheckViolation):
        session(SUPERUSER).execute(statement)


def test_ids_are_random(session: Open, issued: Issued) -> None:
    """Neither of a sequence nor of the time, which would give neighbours a common start."""
    jobs = session(accounts.ROLE)
    accounts.ensure(jobs, accounts.wanted(accounts=[{"address": f"p{n}@example.kr"} for n in range(20)]))
    subjects = [row[0].bytes[:5] for row in jobs.execute("SELECT id FROM accounts.subject")]
    assert len(set(subjects)) == 21
    assert all(row[0].version == 4 for row in jobs.execute("SELECT id FROM accounts.tenant"))
