"""`sensmail keys`: the key service, the key register, rotation; and the parts that officers and operators do."""

from __future__ import annotations

import argparse
import sys

from sensmail.cli import keys_ceremony, keys_officer
from sensmail.cli.asking import who, why, why_options
from sensmail.cli.errors import CommandError
from sensmail.cli.keys_show import due_text, register_csv, register_text, status_text
from sensmail.custody import ceremony
from sensmail.keyd.client import KeyService
from sensmail.keyd.register import lines
from sensmail.policy.approval import Approval
from sensmail.rotation.actions import ACTIONS, Rotation
from sensmail.rotation.progress import watch
from sensmail.store import connect


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("keys", help="keys: state, register, rotation, ceremony, recovery (as root)")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="places, epoch, root, officers, keys by state, openings")
    status.set_defaults(run=_status)
    listing = actions.add_parser("register", help="the key register (암호키 관리대장)")
    listing.add_argument("--csv", action="store_true", help="for a spreadsheet, with Korean headings")
    listing.set_defaults(run=_register)
    gaps = actions.add_parser("gaps", help="openings without a record; exit 1 when there are any")
    gaps.set_defaults(run=_gaps)
    roll = actions.add_parser("roll", help="a new epoch now; completes one that was left undone")
    why_options(roll)
    roll.set_defaults(run=_roll)
    due = actions.add_parser("due", help="when each kind of change is due by policy; changes nothing")
    due.set_defaults(run=_due)
    rotate = actions.add_parser("rotate", help="change keys: what is due by policy, or one kind now")
    which = rotate.add_mutually_exclusive_group(required=True)
    which.add_argument("--due", action="store_true", help="whatever is due; prints what and why")
    which.add_argument("--now", choices=ACTIONS, metavar="ACTION", help=f"one of {', '.join(ACTIONS)}")
    why_options(rotate, "")
    rotate.add_argument("--approved-by", default="", metavar="NAME", help="who approved, by name")
    rotate.add_argument("--reference", default="", help="where the approval is written down")
    rotate.set_defaults(run=_rotate)
    keys_officer.register(actions)
    keys_ceremony.register(actions)


def _status(_: argparse.Namespace) -> int:
    with KeyService() as service:
        sys.stdout.write(status_text(service.status()))
    return 0


def _register(options: argparse.Namespace) -> int:
    with connect(ceremony.JOBS) as connection:
        rows = lines(connection)
    sys.stdout.write(register_csv(rows) if options.csv else register_text(rows))
    return 0


def _gaps(_: argparse.Namespace) -> int:
    with KeyService() as service:
        through, gaps = ceremony.gaps_here(service)
    for gap in gaps:
        numbers = f"opening {gap.start}" if len(gap) == 1 else f"openings {gap.start} to {gap.stop - 1}"
        print(f"{numbers}: no record; it was swallowed or removed. Preserve the database and look for who could")
    print(f"{through} openings, {sum(map(len, gaps))} without a record")
    return 1 if gaps else 0


def _roll(options: argparse.Namespace) -> int:
    given = why(options)
    with KeyService() as service:
        epoch = service.roll(given.actor, given.reason, given.approver)
    print(f"epoch {epoch} in every place; the one before is gone")
    return 0


def _due(_: argparse.Namespace) -> int:
    with KeyService() as service:
        sys.stdout.write(due_text(Rotation.here(service, who(), "", watch()).calendar()))
    return 0


def _rotate(options: argparse.Namespace) -> int:
    if options.now and not options.reason:
        raise CommandError(f"rotate --now {options.now}: say why; add --reason")
    with KeyService() as service:
        rotation = Rotation.here(service, who(), options.reason or "due by policy", watch())
        if options.due:
            for line in rotation.due():
                print(line, flush=True)
            return 0
        role = options.approver
        approval = Approval(role, options.approved_by, options.reference) if role else None
        print(rotation.carry_out(options.now, approval).text)
    return 0
