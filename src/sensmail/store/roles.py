"""Who may log in to the database server, and what they may do with the database as a whole.

What a role may read inside the database is granted by the migration that makes the table or view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from sensmail.store.connection import Connection

OWNER = "sensmail_owner"


@dataclass(frozen=True)
class Role:
    """A role without any attribute but, perhaps, the right to log in."""

    name: str
    login: bool
    temporary: bool = False  # may make temporary tables


@dataclass(frozen=True)
class Step:
    """One statement that is still needed, and what it does in words."""

    text: str
    statement: sql.Composed


ROLES = (
    Role(OWNER, login=False),  # owns every schema; migrations become it, nobody else can
    Role("sensmail-jobs", login=True, temporary=True),  # reads and writes accounts for modules, commands and timers
    Role("sensmail-keyd", login=True),  # adds records, keeps the key register
    Role("sensmail-sealer", login=True),  # moves records from the inbox into the ledgers
    Role("sensmail-collector", login=True),  # adds records of what the journal says
    Role("sensmail_audit", login=False),  # nobody's: pgaudit notes what others do with the tables it is granted
    Role("sensmail-publisher", login=True),  # hands heads to witnesses: hashes and notes, no record
    Role("sensmail-prune", login=True),  # deletes records whose time is over
    Role("postfix", login=True),  # routing: the views it is granted in schema mail
    Role("dovecot", login=True),  # mailboxes and app passwords: the views it is granted in schema mail
)

# pgaudit notes what every role does with personal tables, but those that have this setting: only a superuser sets it.
_NOT_AUDITED = "pgaudit.role="

# Attributes that none of our roles holds.
_FORBIDDEN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

_ROLE_STATE = """
    SELECT rolname, rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,
        coalesce(%s = ANY (rolconfig), false)
    FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)
"""

_DATABASE_STATE = """
    SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname = %s
"""

_DATABASE_GRANTS = """
    SELECT CASE acl.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(acl.grantee) END, acl.privilege_type
    FROM pg_catalog.pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
    WHERE datname = %s
"""


def role_steps(server: Connection, roles: Iterable[Role] = ROLES) -> list[Step]:
    """The statements that bring the login roles to their stated form."""
    wanted = tuple(roles)
    rows = server.execute(_ROLE_STATE, (_NOT_AUDITED, [role.name for role in wanted])).fetchall()
    present = {name: (login, forbidden) for name, login, forbidden, _ in rows}
    unaudited = {name for name, *_, without in rows if without}
    steps = []
    for role in wanted:
        name, verb = sql.Identifier(role.name), "ALTER" if role.name in present else "CREATE"
        if present.get(role.name) != (role.login, False):
            attributes = f"{'LOGIN' if role.login else 'NOLOGIN'} {_FORBIDDEN}"
            statement = sql.SQL("{} ROLE {} {}").format(sql.SQL(verb), name, sql.SQL(attributes))
            steps.append(Step(f"{verb.lower()} role {role.name} ({'login' if role.login else 'no login'})", statement))
        if role.login and role.name not in unaudited:
            statement = sql.SQL("ALTER ROLE {} SET pgaudit.role = ''").format(name)
            steps.append(Step(f"leave role {role.name}, a service, out of pgaudit", statement))
    return steps


def database_exists(server: Connection, name: str) -> bool:
    """Whether the database is there at all."""
    return server.execute(_DATABASE_STATE, (name,)).fetchone() is not None


def create_step(name: str) -> Step:
    """The statement that makes the database. C.UTF-8: the order of text never changes with the C library."""
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
    return Step(f"create database {name}", statement.format(sql.Identifier(name), sql.Identifier(OWNER)))


def grant_steps(server: Connection, name: str, roles: Iterable[Role] = ROLES) -> list[Step]:
    """The statements that leave CONNECT to our login roles, everything to the owner and nothing to the public."""
    roles = tuple(roles)
    wanted = {(role.name, "CONNECT") for role in roles if role.login}
    wanted |= {(role.name, "TEMPORARY") for role in roles if role.temporary}
    wanted |= {(OWNER, privilege) for privilege in ("CONNECT", "CREATE", "TEMPORARY")}
    present = set(server.execute(_DATABASE_GRANTS, (name,)).fetchall())
    verbs = [("REVOKE", "FROM", present - wanted), ("GRANT", "TO", wanted - present)]
    return [
        Step(
            f"{verb.lower()} {privilege} on database {name} {link.lower()} {grantee}",
            sql.SQL("{} {} ON DATABASE {} {} {}").format(
                sql.SQL(verb), sql.SQL(privilege), sql.Identifier(name), sql.SQL(link), _grantee(grantee)
            ),
        )
        for verb, link, pairs in verbs
        for grantee, privilege in sorted(pairs)
    ]


def _grantee(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name == "public" else sql.Identifier(name)
