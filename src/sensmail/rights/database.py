"""Persons in PostgreSQL: a login role by peer, for the operating-system account of its name, member of a read role.

PostgreSQL ends no membership by itself: VALID UNTIL is for passwords, which these roles do not have. The timer does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from sensmail.rights.errors import InvalidRight, NotApplied
from sensmail.rights.model import Right, State
from sensmail.store import SUPERUSER, Connection
from sensmail.store.roles import FORBIDDEN, PERSONS, ROLES

#: Roles that the software makes: their form is that of `sensmail.store.roles`, restored at each deployment.
OURS = frozenset({SUPERUSER, *(role.name for role in ROLES)})
_MEMBERS: LiteralString = """
    SELECT held.rolname, who.rolname, who.rolvaliduntil, who.rolcanlogin, m.admin_option
    FROM pg_auth_members AS m JOIN pg_roles AS held ON held.oid = m.roleid JOIN pg_roles AS who ON who.oid = m.member
    WHERE who.rolname !~ '^pg_'
"""
_HELD: LiteralString = """
    SELECT (SELECT count(*) FROM pg_auth_members WHERE member = pg_roles.oid) FROM pg_roles WHERE rolname = %s
"""
_ROLES: LiteralString = """
    SELECT rolname, rolcanlogin, array_remove(ARRAY[
        CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolcreaterole THEN 'createrole' END,
        CASE WHEN rolcreatedb THEN 'createdb' END, CASE WHEN rolreplication THEN 'replication' END,
        CASE WHEN rolbypassrls THEN 'bypassrls' END], NULL)
    FROM pg_roles WHERE rolname !~ '^pg_'
"""
# What is granted on the things of this database themselves. Nobody but our roles has any, and the public only what
# PostgreSQL gives it. Owners are left out: that they may is what owning means.
_GRANTS: LiteralString = """
    WITH things (kind, name, owner, acl) AS (
        SELECT 'database', datname, datdba, datacl FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT 'schema', nspname, nspowner, nspacl FROM pg_namespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        UNION ALL SELECT 'relation', oid::regclass::text, relowner, relacl FROM pg_class
            WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        UNION ALL SELECT 'column', attrelid::regclass::text || '.' || attname, relowner, attacl
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE attacl IS NOT NULL AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        UNION ALL SELECT 'function', oid::regprocedure::text, proowner, proacl FROM pg_proc
            WHERE pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
        UNION ALL SELECT 'default privilege', defaclobjtype::text, defaclrole, defaclacl FROM pg_default_acl
    )
    SELECT coalesce(pg_roles.rolname, 'public'), lower(privilege_type) || ' on ' || kind || ' ' || things.name
    FROM things, aclexplode(acl) AS given LEFT JOIN pg_roles ON pg_roles.oid = given.grantee
    WHERE given.grantee <> things.owner AND coalesce(pg_roles.rolname, '') !~ '^pg_'
        AND NOT (given.grantee = 0 AND kind = 'function')
        AND NOT (given.grantee = 0 AND (kind, things.name, privilege_type) = ('schema', 'public', 'USAGE'))
"""


@dataclass(frozen=True)
class Database:
    """The place of kind `database`.

    Attributes:
        name: of the engine's database.
        connect: opens a session as superuser, in autocommit.
    """

    name: str
    connect: Callable[[], Connection]

    def check(self, right: Right) -> None:
        if right.right not in PERSONS:
            raise InvalidRight(f"{right}: persons may be members of {', '.join(PERSONS)} only, roles that read")
        if right.account in OURS or right.account.startswith("pg_"):
            raise InvalidRight(f"{right}: {right.account} is a role of a service; persons have roles of their own name")

    def removable(self, right: Right) -> None:
        """Nothing of this kind carries a run."""

    def expected(self, terms: tuple[str, ...], until: datetime) -> State:
        return State(terms, _text(until))

    def look(self, right: Right) -> State | None:
        return self.found().get(right)

    def apply(self, right: Right, _terms: tuple[str, ...], until: datetime) -> None:
        with self._session() as connection, connection.transaction():
            there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (right.account,)).fetchone()
            verb, limit = (
                sql.SQL("CREATE" if there is None else "ALTER"),
                sql.Literal(until.astimezone(UTC).isoformat()),
            )
            role, group = sql.Identifier(right.account), sql.Identifier(right.right)
            form = sql.SQL("{} ROLE {} LOGIN {} INHERIT PASSWORD NULL VALID UNTIL {}")
            connection.execute(form.format(verb, role, sql.SQL(FORBIDDEN), limit))
            connection.execute(sql.SQL("GRANT {} TO {}").format(group, role))

    def remove(self, right: Right) -> None:
        with self._session() as connection:
            row = connection.execute(_HELD, (right.account,)).fetchone()
            if row is None:
                return
            role, group = sql.Identifier(right.account), sql.Identifier(right.right)
            with connection.transaction():
                connection.execute(sql.SQL("REVOKE {} FROM {}").format(group, role))
                if row[0] <= 1:  # the last one: the role stays, so that nobody gets its name
                    connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN {}").format(role, sql.SQL(FORBIDDEN)))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (right.account,)
            )

    def found(self) -> dict[Right, State]:
        with self._session() as connection:
            states = dict(self._memberships(connection))
            for name, login, attributes in connection.execute(_ROLES):
                if name in OURS and (name == SUPERUSER or not attributes):
                    continue
                member = any(each.account == name for each in states)
                for attribute in attributes + (["login"] if login and not member and name not in OURS else []):
                    states[Right("database", self.name, name, attribute)] = State()
            given: dict[Right, State] = {}
            for name, what in connection.execute(_GRANTS):
                if name not in OURS:
                    given[Right("database", self.name, name, what)] = State()
            return states | given

    def _memberships(self, connection: Connection) -> Iterator[tuple[Right, State]]:
        held: dict[Right, State] = defaultdict(State)
        for group, member, valid, login, admin in connection.execute(_MEMBERS):
            terms = ("may grant it",) if admin else ()
            if login or member in OURS:
                held[Right("database", self.name, member, group)] = State(terms, _text(valid) if valid else "")
        yield from held.items()

    def _session(self) -> Connection:
        try:
            return self.connect()
        except psycopg.Error as error:
            raise NotApplied(f"database {self.name}: {error}") from error


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
