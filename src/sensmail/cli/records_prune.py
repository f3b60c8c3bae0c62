"""`sensmail records prune` and `sensmail records hold`: deletion in time, and what keeps single records from it."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from uuid import UUID

from sensmail.cli.asking import who
from sensmail.cli.records_show import moment_text
from sensmail.cli.table import KOREA, table
from sensmail.records import face, hold
from sensmail.records.hold import Criteria, Hold, Order
from sensmail.store import connect

_ROLE = "sensmail-jobs"
_HEADS = ("번호 No", "대상 What", "지정 Placed", "사유 Reason", "승인 Approver", "해제 Released")


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both to the actions of `sensmail records`."""
    pruning = actions.add_parser("prune", help="delete the records whose time is over (as root)")
    pruning.add_argument("--check", action="store_true", help="only say what would go, and why")
    pruning.set_defaults(run=_prune)
    holding = actions.add_parser("hold", help="legal holds: records that match are kept until release")
    kinds = holding.add_subparsers(metavar="ACTION", required=True)
    kinds.add_parser("list", help="every hold").set_defaults(run=_list)
    placing = kinds.add_parser("place", help="place one; every criterion that is given must match")
    placing.add_argument("--subject", type=UUID, help="id of the person")
    placing.add_argument("--account", help="the account as records name it, such as a mail address")
    placing.add_argument(
        "--since", type=_moment, metavar="TIME", help="of the act; Korean time where no offset is given"
    )
    placing.add_argument("--until", type=_moment, metavar="TIME", help="the same")
    _words(placing)
    placing.set_defaults(run=_place)
    releasing = kinds.add_parser("release", help="release one: the next prune deletes what was kept for it alone")
    releasing.add_argument("number", type=int)
    _words(releasing)
    releasing.set_defaults(run=_release)


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, help="such as the case; stands in the records")
    parser.add_argument("--approver", required=True, metavar="ROLE", help="who ordered it")


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=KOREA)


def _prune(options: argparse.Namespace) -> int:
    done = face.prune(who(), datetime.now(UTC), check=options.check)
    print("\n".join(done["lines"]))
    return 0


def _list(_: argparse.Namespace) -> int:
    with connect(_ROLE) as connection:
        found = hold.holds(connection)
    sys.stdout.write(table([_HEADS, *map(_row, found)] if found else []))
    return 0


def _row(each: Hold) -> tuple[str, ...]:
    since, until = moment_text(each.since), moment_text(each.until)
    span = f"{since} … {until}" if since or until else ""
    what = " ".join(filter(None, (str(each.subject or ""), each.account or "", span)))
    return str(each.number), what, moment_text(each.placed), each.reason, each.approver, moment_text(each.released)


def _place(options: argparse.Namespace) -> int:
    criteria = Criteria(options.subject, options.account, options.since, options.until)
    with connect(_ROLE) as connection:
        number = hold.place(connection, criteria, Order(who(), options.reason, options.approver))
    print(f"hold {number} stands")
    return 0


def _release(options: argparse.Namespace) -> int:
    with connect(_ROLE) as connection:
        hold.release(connection, options.number, Order(who(), options.reason, options.approver))
    print(f"hold {options.number} is released")
    return 0
