"""`sensmail db`: roles, database and migrations."""

from __future__ import annotations

import argparse

from sensmail.store import SUPERUSER, connect, migrate
from sensmail.store.deploy import deploy


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("db", help="the engine's database").add_subparsers(metavar="ACTION", required=True)
    apply = group.add_parser("migrate", help="make roles and database, apply pending migrations (as root or postgres)")
    apply.add_argument("--check", action="store_true", help="only say what would be done")
    apply.set_defaults(run=_migrate)
    status = group.add_parser("status", help="applied and pending migrations (as root or postgres)")
    status.set_defaults(run=_status)


def _migrate(options: argparse.Namespace) -> int:
    result = deploy(check=options.check)
    for step in result.steps:
        print(f"would {step}" if options.check else f"done: {step}")
    if not result.steps:
        print(f"nothing to do, {result.after} migrations applied")
    return 0


def _status(_: argparse.Namespace) -> int:
    with connect(SUPERUSER) as connection:
        present = migrate.applied(connection)
    for row in present:
        print(f"applied {row.applied_at:%Y-%m-%d %H:%M} UTC  {row.name}")
    for file in migrate.pending(migrate.available(), present):
        print(f"pending                     {file.name}")
    return 0
