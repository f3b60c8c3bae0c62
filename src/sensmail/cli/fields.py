"""`sensmail fields`: which columns hold sealed values, in which state, and bringing them there."""

from __future__ import annotations

import argparse

from sensmail.keyd.client import KeyService
from sensmail.rotation import face
from sensmail.rotation.census import census
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress, watch
from sensmail.rotation.protect import preview, protect, tables
from sensmail.rotation.reseal import all_wanted


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("fields", help="sealed columns: census, protection (as root)")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    counting = actions.add_parser(
        "census", help="values of every sealed column by state; exit 1 when one is not in order"
    )
    counting.set_defaults(run=_census)
    sealing = actions.add_parser(
        "protect", help="seal what is in clear, in every column of the data map; again to go on"
    )
    sealing.add_argument("--check", action="store_true", help="only count what would be sealed")
    sealing.add_argument("--no-rewrite", action="store_true", help="do not lock and rewrite tables; no date is set")
    sealing.set_defaults(run=_protect)


def _census(_: argparse.Namespace) -> int:
    sessions, good = Sessions.here(), True
    with sessions.engine() as engine, KeyService() as keys:
        for table in tables(sessions, all_wanted(engine, face.wanted_columns(sessions, None))):
            with sessions.on(table) as connection:
                for column, states in census(connection, table, keys, Progress()).items():
                    found = ", ".join(f"{count} {state}" for state, count in states.items() if count)
                    print(f"{table}.{column}: {found or 'empty'}")
                    good &= not any(states[bad] for bad in ("plaintext", "unknown", "destroyed", "invalid"))
    return 0 if good else 1


def _protect(options: argparse.Namespace) -> int:
    sessions = Sessions.here()
    wanted = face.wanted_columns(sessions, None)
    if options.check:
        done = preview(sessions, wanted)
    else:
        with KeyService() as keys:
            done = protect(sessions, keys, wanted, watch(), rewrite=not options.no_rewrite)
    for each in done:
        for column, count in each.in_clear.items():
            date = each.protected_from[column]
            since = f"protected from {date:%Y-%m-%d %H:%M} UTC" if date else "not protected yet"
            print(f"{each.table}.{column}: {count} {'in clear' if options.check else 'sealed'}, {since}")
        for note in each.notes:
            print(note)
    return 0
