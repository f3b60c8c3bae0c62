"""`sensmail keys officers|drill|recover|fill|compare`: what an operator does with officers at hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sensmail.cli.asking import confirm, guard, why, why_options
from sensmail.cli.keys_show import compared_text
from sensmail.custody import ceremony
from sensmail.custody.recover import Recovered
from sensmail.keyd import policy
from sensmail.keyd.client import KeyService
from sensmail.keys import Officers
from sensmail.keys.officer import fingerprint, load_public
from sensmail.rotation.compare import compare
from sensmail.rotation.passes import Sessions
from sensmail.rotation.terms import load


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    officers = actions.add_parser("officers", help="who opens a copy when this host is lost")
    new = officers.add_subparsers(metavar="ACTION", required=True).add_parser(
        "set", help="three public keys; any two officers"
    )
    new.add_argument("keys", type=Path, nargs=3, metavar="FILE.pub")
    new.add_argument("--yes", action="store_true", help="the officers have compared their fingerprints already")
    why_options(new)
    new.set_defaults(run=_officers)
    drill = actions.add_parser("drill", help="prove that a copy opens by two pieces; recorded")
    _opening(drill, _drill, reason="recovery drill")
    drill.add_argument("--offline", action="store_true", help="without the service: print, compare and record nothing")
    _lost(_opening(actions.add_parser("recover", help="on a new host: take over a lost host's keys"), _recover))
    fill = _lost(actions.add_parser("fill", help="fill an empty place from the others; --lost gives one up"))
    text = "a place that is empty because another disk stands there now; the one before is destroyed physically"
    fill.add_argument("--replaced", action="append", default=[], metavar="DIRECTORY", help=text)
    text = "where the opening counter is lost and the records hold a number that is wrong: the highest right one"
    fill.add_argument("--openings", type=int, metavar="NUMBER", help=text)
    why_options(fill)
    fill.set_defaults(run=_fill)
    compare = actions.add_parser("compare", help="sealed values whose keys are not there; exit 1 when one is lost")
    compare.set_defaults(run=_compare)


def _opening(parser: argparse.ArgumentParser, run: object, reason: str | None = None) -> argparse.ArgumentParser:
    parser.add_argument("copy", type=Path, help="directory with a copy of a place")
    parser.add_argument("pieces", type=Path, nargs=2, metavar="PIECE", help="piece files of two officers")
    why_options(parser, reason)
    parser.set_defaults(run=run)
    return parser


def _lost(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    text = "a place that is given up, and destroyed physically"
    parser.add_argument("--lost", action="append", default=[], metavar="DIRECTORY", help=text)
    return parser


def _officers(options: argparse.Namespace) -> int:
    given = why(options)
    policy.read().keys.require_approval("officers", given.approver)
    publics = Officers.of([load_public(path) for path in options.keys]).keys
    for path, public in zip(options.keys, publics, strict=True):
        print(f"{fingerprint(public)}   {path}")
    if not options.yes:
        confirm("Has each officer compared these digits with the own slip of paper?")
    with KeyService() as service:
        epoch = service.roll(given.actor, given.reason, given.approver, officers=publics)
    print(f"epoch {epoch}: any two of these three open a copy; now hold a drill (docs/keys.md)")
    return 0


def _drill(options: argparse.Namespace) -> int:
    guard()
    one, two = options.pieces
    if options.offline:
        found, behind = ceremony.open_copy(options.copy, one, two), 0
    else:
        with KeyService() as service:
            found, behind = ceremony.drill_here(options.copy, one, two, service, why(options))
    print(f"{options.copy} opens: key file {found.ring}, epoch {found.epoch}, {found.sequence} changes")
    print(f"{found.subjects} subjects, {found.usable_versions} usable key versions, {found.tombstones} tombstones")
    if options.offline:
        print("compare with `sensmail keys status` on the host; nothing was recorded")
    elif behind:
        print(f"the running key file is {behind} changes ahead: the copy is older, and lacks what came since")
    print("now destroy the pieces and the copy, and roll: `sensmail keys roll --reason 'after the drill'`")
    return 0


def _recover(options: argparse.Namespace) -> int:
    guard()
    one, two = options.pieces
    _print(ceremony.recover_here(options.copy, one, two, options.lost, why(options)))
    print("now destroy the pieces; what became of the old host's places? (docs/keys.md)")
    return _compare(options)


def _fill(options: argparse.Namespace) -> int:
    _print(ceremony.fill_here(options.lost, options.replaced, why(options), options.openings))
    return 0


def _print(done: Recovered) -> None:
    print("\n".join(done.steps))
    print(f"key file {done.ring}, epoch {done.epoch}: {done.subjects} subjects, {done.tombstones} tombstones")


def _compare(_: argparse.Namespace) -> int:
    sessions = Sessions.here()
    with KeyService() as service:
        found = compare(sessions, service, load(sessions.settings).columns)
    sys.stdout.write(compared_text(found))
    return 0 if found.complete else 1
