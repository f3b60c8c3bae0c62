"""Accounts in the database: read what a call speaks of, write one change. SQL lives here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress

from psycopg import sql

from sensmail.accounts import app_password, password
from sensmail.accounts.model import AppPasswordRow, Envelopes, Mailbox, Present, Tenant, Wanted
from sensmail.accounts.personal import ITEMS
from sensmail.accounts.plan import (
    AliasChange,
    AppPasswordChange,
    Change,
    DomainChange,
    MailboxChange,
    PasswordChange,
    TenantChange,
)
from sensmail.store import Connection

_LOCK_KEY = 0x6163636F756E7473  # "accounts"

_ITEMS = sql.SQL(", ").join(map(sql.Identifier, ITEMS))
_MAILBOXES = sql.SQL("""
    SELECT address::text, state::text, quota_bytes, send_limit_per_hour, password_hash, id, {stored}
    FROM accounts.subject WHERE %(all)s OR address::text = ANY (%(some)s) ORDER BY address
""").format(stored=sql.SQL(", ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(item)) for item in ITEMS))
_DEVICES = """
    SELECT s.address::text, p.selector, p.label, p.scope, p.expires_at, p.created_at, p.last_used_at
    FROM accounts.app_password AS p JOIN accounts.subject AS s ON s.id = p.subject_id
    WHERE p.revoked_at IS NULL AND (%(all)s OR s.address::text = ANY (%(some)s)) ORDER BY p.label
"""
_ENSURE_TENANT = """
    INSERT INTO accounts.tenant (name, contract_start, contract_end) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET contract_start = EXCLUDED.contract_start, contract_end = EXCLUDED.contract_end
"""
_INSERT_MAILBOX = """
    INSERT INTO accounts.subject (id, address, tenant_id, state, quota_bytes, send_limit_per_hour)
    SELECT %(id)s::uuid, %(address)s::text, tenant_id, %(state)s::accounts.subject_state,
        %(quota)s::bigint, %(limit)s::integer
    FROM accounts.domain WHERE name = split_part(%(address)s::text, '@', 2)
"""
_UPDATE_MAILBOX = """
    UPDATE accounts.subject SET state = %(state)s::accounts.subject_state, quota_bytes = %(quota)s,
        send_limit_per_hour = %(limit)s,
        retired_at = CASE WHEN %(state)s::accounts.subject_state = 'retired' THEN coalesce(retired_at, now()) END
    WHERE address = %(address)s
"""
_INSERT_DEVICE = """
    INSERT INTO accounts.app_password (selector, subject_id, label, hash, scope, expires_at)
    SELECT %s, id, %s, %s, %s::text[], %s::timestamptz FROM accounts.subject WHERE address = %s
"""


def lock(connection: Connection) -> None:
    """Let one writer of accounts at a time plan and apply; held until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))


def mailboxes(connection: Connection, addresses: Iterable[str] | None = None) -> dict[str, Mailbox]:
    """Mailboxes with their living app passwords, by address; all of them unless `addresses` are given."""
    where = {"all": addresses is None, "some": list(addresses or ())}
    devices: dict[str, dict[str, AppPasswordRow]] = {}
    for address, selector, label, scope, expires, created, used in connection.execute(_DEVICES, where):
        row = AppPasswordRow(selector, label, app_password.check_scope(scope), expires, created, used)
        devices.setdefault(address, {})[label] = row
    rows = connection.execute(_MAILBOXES, where)
    return {
        address: Mailbox(
            address, state, quota, limit, digest, devices.get(address, {}), subject, frozenset(compress(ITEMS, stored))
        )
        for address, state, quota, limit, digest, subject, *stored in rows
    }


def present(connection: Connection, wanted: Wanted) -> Present:
    """What the database holds of everything that `wanted` names."""
    spoken = {mailbox.address for mailbox in wanted.mailboxes} | {alias.address for alias in wanted.aliases}
    tenants = connection.execute("SELECT name, contract_start, contract_end FROM accounts.tenant")
    domains = connection.execute(
        "SELECT d.name, t.name FROM accounts.domain AS d JOIN accounts.tenant AS t ON t.id = d.tenant_id"
    )
    aliases: dict[str, set[str]] = {}
    for address, target in connection.execute(
        "SELECT address::text, target FROM accounts.alias WHERE address::text = ANY (%s)", (sorted(spoken),)
    ):
        aliases.setdefault(address, set()).add(target)
    return Present(
        tenants={row[0]: Tenant(*row) for row in tenants},
        domains=dict(domains.fetchall()),
        mailboxes=mailboxes(connection, spoken),
        aliases={address: frozenset(targets) for address, targets in aliases.items()},
    )


def envelopes(connection: Connection, address: str) -> Envelopes | None:
    """The sealed items of one mailbox's owner that are stored; None when there is no such mailbox."""
    query = sql.SQL("SELECT id, {} FROM accounts.subject WHERE address = %s").format(_ITEMS)
    row = connection.execute(query, (address,)).fetchone()
    if row is None:
        return None
    return Envelopes(row[0], {item: bytes(value) for item, value in zip(ITEMS, row[1:], strict=True) if value})


def apply(connection: Connection, change: Change | Envelopes) -> app_password.AppPassword | None:
    """Write one change; returns the app password when the change issues one."""
    match change:
        case TenantChange(_, after):
            connection.execute(_ENSURE_TENANT, (after.name, after.contract_start, after.contract_end))
        case DomainChange(name, tenant):
            connection.execute(
                "INSERT INTO accounts.domain (name, tenant_id) SELECT %s, id FROM accounts.tenant WHERE name = %s",
                (name, tenant),
            )
        case MailboxChange(before, after):
            fields = {"id": after.id, "address": after.address, "state": after.state}
            numbers = {"quota": after.quota_bytes, "limit": after.send_limit_per_hour}
            connection.execute(_UPDATE_MAILBOX if before else _INSERT_MAILBOX, fields | numbers)
        case PasswordChange(address, text):
            connection.execute(
                "UPDATE accounts.subject SET password_hash = %s WHERE address = %s", (password.digest(text), address)
            )
        case Envelopes(subject, items):
            columns = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(item)) for item in items)
            query = sql.SQL("UPDATE accounts.subject SET {} WHERE id = %s").format(columns)
            connection.execute(query, (*items.values(), subject))
        case AppPasswordChange():
            return _device(connection, change)
        case AliasChange(address, before, after):
            _targets(connection, address, before - after, after - before)
    return None


def _device(connection: Connection, change: AppPasswordChange) -> app_password.AppPassword | None:
    before, after = change.before, change.after
    if before and after:
        connection.execute(
            "UPDATE accounts.app_password SET scope = %s, expires_at = %s WHERE selector = %s",
            (list(after.scope), after.expires, before.selector),
        )
    elif before:
        connection.execute(
            "UPDATE accounts.app_password SET revoked_at = now() WHERE selector = %s", (before.selector,)
        )
    elif after:
        new = app_password.generate()
        row = (new.selector, after.label, new.hash, list(after.scope), after.expires, change.address)
        connection.execute(_INSERT_DEVICE, row)
        return new
    return None


def _targets(connection: Connection, address: str, gone: frozenset[str], new: frozenset[str]) -> None:
    connection.execute("DELETE FROM accounts.alias WHERE address = %s AND target = ANY (%s)", (address, list(gone)))
    connection.execute(
        "INSERT INTO accounts.alias (address, target) SELECT %s, unnest(%s::text[])", (address, sorted(new))
    )


def owner_of(connection: Connection, selector: str) -> tuple[str, str] | None:
    """Address and label of a living app password; None when there is none with this selector."""
    row = connection.execute(
        "SELECT s.address::text, p.label FROM accounts.app_password AS p JOIN accounts.subject AS s "
        "ON s.id = p.subject_id WHERE p.selector = %s AND p.revoked_at IS NULL",
        (selector,),
    ).fetchone()
    return (row[0], row[1]) if row else None
