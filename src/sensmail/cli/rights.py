"""`sensmail rights`: the register of access rights, and whether it is true."""

from __future__ import annotations

import argparse
import sys

from sensmail import rights
from sensmail.cli import rights_show
from sensmail.cli.errors import CommandError
from sensmail.rights.face import actor
from sensmail.rights.model import Line


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("rights", help="access rights: register, reconciliation, unused accounts (as root)")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="rights in force")
    listing.add_argument("--all", action="store_true", help="also what has ended, or was taken back")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="every term of one account, or one row")
    show.add_argument("which", metavar="ACCOUNT|NUMBER")
    show.set_defaults(run=_show)
    for name, act, text in (
        ("reconcile", _reconcile, "rights without a record, records without a right; exit 1 when there is any finding"),
        ("dormant", _dormant, "accounts that nobody used for the period of the policy; exit 1 when there is one"),
    ):
        look = actions.add_parser(name, help=text)
        look.add_argument("--format", choices=("text", "json"), default="text")
        look.set_defaults(run=act)
    actions.add_parser("export", help="the whole register as CSV, for a spreadsheet").set_defaults(run=_export)
    keep = actions.add_parser("keep", help="what the timer does: finish, expire, delete old rows, reconcile")
    keep.set_defaults(run=_keep)


def _lines() -> list[Line]:
    with rights.desk(actor()) as desk:
        return desk.register.lines()


def _list(options: argparse.Namespace) -> int:
    chosen = [line for line in _lines() if options.all or line.state not in ("void", "changed", "revoked")]
    print(rights_show.lines_text(chosen), end="")
    return 0


def _show(options: argparse.Namespace) -> int:
    found = [line for line in _lines() if options.which in (line.account, str(line.number), str(line.id))]
    if not found:
        raise CommandError(f"no row is about {options.which!r}; `sensmail rights list --all` shows them")
    print(rights_show.whole_text(found), end="")
    return 0


def _export(_: argparse.Namespace) -> int:
    sys.stdout.write(rights_show.lines_csv(_lines()))
    return 0


def _reconcile(options: argparse.Namespace) -> int:
    with rights.desk(actor()) as desk:
        report = rights.look(desk)
    render = rights_show.report_json if options.format == "json" else rights_show.report_text
    print(render(report), end="")
    return 0 if report.clean else 1


def _dormant(options: argparse.Namespace) -> int:
    with rights.desk(actor()) as desk:
        report = rights.look(desk)
    render = rights_show.dormant_json if options.format == "json" else rights_show.dormant_text
    print(render(report), end="")
    return 1 if any(each.what in ("dormant", "not_assessed") for each in report.findings) else 0


def _keep(_: argparse.Namespace) -> int:
    done, report = rights.keep()
    print("".join(f"{line}\n" for line in done) + rights_show.report_text(report), end="")
    return 0 if report.clean else 1
