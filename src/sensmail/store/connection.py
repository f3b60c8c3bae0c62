"""One way to open a session: as a named role, over the socket by peer or over TLS.

A process of root takes the identity of the operating-system user with the role's name for the moment of
connecting (peer authentication asks the kernel who called `connect(2)`). So an operator's command or an
Ansible module never works with more rights than its role has, and no password exists that could leak.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from sensmail.store.errors import Unreachable
from sensmail.store.settings import Settings, load

Connection = psycopg.Connection[tuple[Any, ...]]

SUPERUSER = "postgres"
CONNECT_TIMEOUT_S = 10


def connect(role: str, *, settings: Settings | None = None, database: str | None = None) -> Connection:
    """Open a session as `role`, in autocommit mode (callers open transactions with `connection.transaction()`).

    Args:
        role: login role; on a socket also the name of the operating-system user that peer must see.
        settings: where; default: `/etc/sensmail/engine.toml`.
        database: another database of the same server, for setting up.

    Raises:
        Unreachable: no server, no such role, or the caller may not become it.
    """
    where = settings or load()
    target: dict[str, Any] = {"host": where.host, "port": where.port, "dbname": database or where.name, "user": role}
    if not where.local:
        target |= {"sslmode": "verify-full", "sslrootcert": where.ca}
    try:
        with _identity(role if where.local else None):
            return psycopg.connect(
                **target,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="sensmail",
                options="-c TimeZone=UTC -c client_min_messages=warning",
            )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unreachable(
            f"no session on database {target['dbname']} at {where.host} as {role}: {reason}. "
            f"Is postgresql running, has role database run, and is the caller root or {role}?"
        ) from error


@contextmanager
def _identity(role: str | None) -> Iterator[None]:
    """Be `role` for the kernel while inside; only root can, and only where such a user exists."""
    if role is None or os.geteuid() != 0:
        yield
        return
    try:
        user = pwd.getpwnam(role)
    except KeyError:
        yield
        return
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
