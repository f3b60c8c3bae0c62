"""`sensmail records`: where the ledgers stand, and the records themselves."""

from __future__ import annotations

import argparse
import sys
import time

from sensmail.cli import records_export, records_generation, records_prune, records_search
from sensmail.cli.errors import CommandError
from sensmail.cli.records_show import record_text, state_text, tail_text
from sensmail.records import reading
from sensmail.records.check import check
from sensmail.records.entry import LEDGERS
from sensmail.records.note import VerifierKey
from sensmail.store import Connection, connect

_ROLE = "sensmail-jobs"
_LATE_S = 60.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("records", help="the access log and the governance ledger (as root)")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="size, checkpoint and key of each log; exit 1 when sealing is late")
    status.set_defaults(run=_status)
    show = actions.add_parser("show", help="one record, every member")
    _ledger(show)
    show.add_argument("number", type=int, help="its number, from 0")
    show.set_defaults(run=_show)
    tail = actions.add_parser("tail", help="the newest records")
    _ledger(tail)
    tail.add_argument("-n", type=int, default=20, metavar="COUNT", help="how many; default 20")
    tail.set_defaults(run=_tail)
    checking = actions.add_parser(
        "check", help="recompute a log from the database; exit 1 when anything is not as signed"
    )
    _ledger(checking)
    checking.add_argument(
        "--log-key", metavar="KEY", help="the verifier key that you hold; default: the database's own"
    )
    checking.set_defaults(run=_check)
    records_export.register(actions)
    records_prune.register(actions)
    records_generation.register(actions)
    records_search.register(actions)


def _ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ledger", choices=LEDGERS, default="access", help="default: access")


def _session() -> Connection:
    return connect(_ROLE)


def _status(_: argparse.Namespace) -> int:
    with _session() as connection:
        states, waiting = reading.states(connection), reading.queue(connection)
    sys.stdout.write(state_text(states, waiting))
    late = not states or any(time.time() - each.signed > _LATE_S for each in states)
    if late:
        print(f"sensmail: no checkpoint within {_LATE_S:.0f} s: journalctl -u sensmail-sealer", file=sys.stderr)
    return 1 if late else 0


def _show(options: argparse.Namespace) -> int:
    with _session() as connection:
        found = reading.one(connection, options.ledger, options.number)
    if found is None:
        raise CommandError(f"{options.ledger} {options.number}: no such record: not sealed yet, or pruned")
    sys.stdout.write(record_text(options.ledger, found))
    return 0


def _tail(options: argparse.Namespace) -> int:
    if options.n < 1:
        raise CommandError(f"-n {options.n}: at least one record is shown")
    with _session() as connection:
        sys.stdout.write(tail_text(reading.tail(connection, options.ledger, options.n)))
    return 0


def _check(options: argparse.Namespace) -> int:
    key = VerifierKey.from_text(options.log_key) if options.log_key else None
    found = check(_session, options.ledger, key)
    for finding in found.findings:
        print(finding)
    print(
        f"{found.ledger} generation {found.generation}: records {found.first} to {found.size - 1} and "
        f"{found.checkpoints} checkpoints compared, {len(found.findings)} findings"
    )
    return 1 if found.findings else 0
