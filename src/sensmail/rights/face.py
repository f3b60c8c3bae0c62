"""What modules, commands and the timer ask of access rights on this host, as plain data."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensmail import store
from sensmail.keyd.caller import name_of, unit_of
from sensmail.policy.approval import Approval
from sensmail.rights import logins, parse, terms
from sensmail.rights.database import Database
from sensmail.rights.desk import Desk, Outcome
from sensmail.rights.errors import InvalidRight
from sensmail.rights.host import Host
from sensmail.rights.model import Kind, Place, Right, Wanted
from sensmail.rights.operator import Operators
from sensmail.rights.portal import Portal
from sensmail.rights.reconcile import Report, reconcile
from sensmail.rights.register import ROLE, Actor, Register
from sensmail.rights.sudo import Sudo


@contextmanager
def desk(actor: Actor) -> Iterator[Desk]:
    """The desk of this host, as long as the block lasts.

    Raises:
        NoPolicy, StoreError.
    """
    here, where = terms.settings(), store.load()
    with store.connect(ROLE, settings=where) as connection:
        host = Host(here.host)
        places: dict[Kind, Place] = {"operator": Operators(host), "sudo": Sudo(host)}
        if where.local:  # a superuser is reached on the database's own host only
            places["database"] = Database(where.name, lambda: store.connect(store.SUPERUSER, settings=where))
            places["portal"] = Portal(connection)
        yield Desk(Register(connection, actor), places, terms.load(), here.declared, here.host)


def actor(account: str = "", origin: str = "", client: str = "") -> Actor:
    """Who this process works for, with the unit that the kernel names."""
    unit = ""
    with suppress(OSError):
        unit = name_of(unit_of(Path("/proc/self/cgroup").read_text(encoding="utf-8")), os.getuid())
    return Actor(account or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name, origin, client, unit)


def change(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Give or end one right. The answer of module access_right.

    Raises:
        RightsError, AccountError, StoreError, LedgerError, psycopg.Error.
    """
    with desk(actor(client="module access_right")) as at:
        right = _right(at, parameters)
        approval = Approval(**parameters["approval"]) if parameters["approval"] else None
        reason = parse.line("reason", parameters["reason"], 1000)
        if parameters["state"] == "absent":
            outcome = at.revoke(right, reason, approval, check=check)
        else:
            outcome = at.ensure(_wanted(at, right, parameters, reason, approval), check=check)
    return _told(outcome)


def keep() -> tuple[tuple[str, ...], Report]:
    """The daily duty: finish what was cut off, end what has passed, delete old rows; then look.

    Raises:
        RightsError, StoreError, LedgerError, psycopg.Error.
    """
    with desk(actor()) as at:
        with at.register.alone():
            done = (*at.settle(), *at.expire())
        gone = at.register.prune(at.terms.retention_days)
        return (*done, *([f"deleted: {gone} rows past their period"] if gone else [])), look(at)


def look(at: Desk) -> Report:
    """Register and host side by side. Raises RightsError, OSError."""
    return reconcile(at, logins.read(Host(at.host).accounts()))


def _right(at: Desk, parameters: Mapping[str, Any]) -> Right:
    kind = parse.kind(parameters["kind"])
    account = parse.account(kind, parameters["account"] or parameters["holder"] or "")
    name = parse.right(kind, parameters["right"] or "")
    scope = parameters["scope"] or ""
    portal, database = at.places.get("portal"), at.places.get("database")
    if kind == "portal":
        if not scope or not isinstance(portal, Portal):
            raise InvalidRight("scope: a role of the portal is for a tenant; name it, on the host of the database")
        return Right(kind, parse.line("scope", scope), str(portal.subject(account)), name)
    default = database.name if kind == "database" and isinstance(database, Database) else at.host
    right = Right(kind, parse.line("scope", scope or default), account, name)
    if right.scope != default:
        raise InvalidRight(f"{right}: this is {default}; run it on {right.scope}, or leave scope out")
    return right


def _wanted(
    at: Desk, right: Right, parameters: Mapping[str, Any], reason: str, approval: Approval | None
) -> Wanted:  # fmt: skip
    keys: Sequence[str] = parameters["public_keys"] or ()
    commands: Sequence[str] = parameters["commands"] or ()
    if not parameters["holder"] or not parameters["until"]:
        raise InvalidRight(f"{right}: a right has a holder and an end; give holder and until")
    until = parse.until(parameters["until"], datetime.now(UTC), at.terms.longest_days)
    holder = parse.line("holder", parameters["holder"])
    return Wanted(right, holder, parse.terms(right.kind, keys, commands), until, reason, approval)


def _told(outcome: Outcome) -> dict[str, Any]:
    diff = {"before": outcome.before, "after": outcome.after}
    return {"changed": outcome.changed, "lines": list(outcome.lines), "diff": diff}
