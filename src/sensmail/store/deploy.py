"""Bring a database server to what this engine needs: roles, database, grants, migrations. Idempotent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sensmail.store import migrate, roles
from sensmail.store.connection import SUPERUSER, Connection, connect
from sensmail.store.settings import Settings, load


@dataclass
class Deployment:
    """What was done, or in check mode what would be done; `before` and `after` count migrations."""

    steps: list[str] = field(default_factory=list)
    before: int = 0
    after: int = 0


def deploy(*, check: bool = False, settings: Settings | None = None) -> Deployment:
    """Make login roles and the database, then apply pending migrations.

    Each statement either commits or is planned again by the next run, so an interrupted run is simply repeated.

    Args:
        check: only say what would be done.
        settings: where; default: `/etc/sensmail/engine.toml`.

    Raises:
        StoreError: see `connect` and `migrate.run`.
    """
    where = settings or load()
    files = migrate.available()
    result = Deployment(after=len(files))
    with connect(SUPERUSER, settings=where, database="postgres") as server:
        _take(result, server, roles.role_steps(server), check)
        fresh = not roles.database_exists(server, where.name)
        if fresh:
            _take(result, server, [roles.create_step(where.name)], check)
        if not (fresh and check):
            _take(result, server, roles.grant_steps(server, where.name), check)
    if fresh and check:
        result.steps += [f"apply migration {file.name}" for file in files]
        return result
    with connect(SUPERUSER, settings=where) as connection:
        present = migrate.applied(connection)
        result.before = len(present)
        todo = migrate.pending(files, present) if check else migrate.run(connection, files)
        result.steps += [f"apply migration {file.name}" for file in todo]
    return result


def _take(result: Deployment, server: Connection, steps: Iterable[roles.Step], check: bool) -> None:
    for step in steps:
        if not check:
            server.execute(step.statement)
        result.steps.append(step.text)
