"""Roles, database and grants: made once, mended when altered, only announced in check mode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sensmail.store import SUPERUSER, Settings, Unreachable, connect
from sensmail.store.deploy import deploy
from sensmail.store.roles import OWNER, ROLES


def test_second_run_does_nothing(server: Settings) -> None:
    result = deploy(settings=server)
    assert result.steps == []
    assert result.before == result.after > 0


def test_check_mode_announces_a_new_database_and_makes_nothing(server: Settings) -> None:
    where = replace(server, name="not_yet")
    result = deploy(check=True, settings=where)
    assert result.steps[0] == "create database not_yet"
    assert "apply migration 0001_accounts.sql" in result.steps
    with pytest.raises(Unreachable, match="not_yet"):
        connect(SUPERUSER, settings=where)


def test_rights_altered_by_hand_are_taken_back(server: Settings) -> None:
    with connect(SUPERUSER, settings=server) as admin:
        admin.execute("ALTER ROLE dovecot CREATEDB")
        admin.execute(f"ALTER ROLE {OWNER} LOGIN")
        admin.execute(f"GRANT ALL ON DATABASE {server.name} TO PUBLIC")
    announced = deploy(check=True, settings=server).steps
    assert announced == [
        f"alter role {OWNER} (no login)",
        "alter role dovecot (login)",
        f"revoke CONNECT on database {server.name} from public",
        f"revoke CREATE on database {server.name} from public",
        f"revoke TEMPORARY on database {server.name} from public",
    ]
    assert deploy(settings=server).steps == announced
    assert deploy(settings=server).steps == []


def test_roles_have_no_special_rights(server: Settings) -> None:
    with connect(SUPERUSER, settings=server) as admin:
        rows = admin.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY (%s) AND NOT (rolsuper OR rolcreatedb OR "
            "rolcreaterole OR rolreplication OR rolbypassrls)",
            ([role.name for role in ROLES],),
        ).fetchall()
    logins: dict[str, bool] = dict(rows)
    assert logins == {role.name: role.login for role in ROLES}
    assert not logins[OWNER]
