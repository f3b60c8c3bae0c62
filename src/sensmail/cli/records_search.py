"""`sensmail records search`: what happened to a person's data, or what a person did; recorded before it is shown."""

from __future__ import annotations

import argparse
import sys
from datetime import date, datetime, time, timedelta

from sensmail.cli.asking import who
from sensmail.cli.records_show import tail_text
from sensmail.cli.table import KOREA
from sensmail.records.entry import LEDGERS
from sensmail.records.search import MOST, Asked, person, search
from sensmail.store import connect


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to `sensmail records`."""
    searching = actions.add_parser("search", help="records of a person, by mail address or id (recorded first)")
    searching.add_argument("person", help="mail address or subject id")
    searching.add_argument(
        "--since", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="first day, Korea"
    )
    searching.add_argument(
        "--until", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="last day, Korea"
    )
    searching.add_argument("--reason", required=True, help="why; stands in the records")
    searching.add_argument("--ledger", choices=LEDGERS, default="access", help="default: access")
    searching.set_defaults(run=_search)


def _search(options: argparse.Namespace) -> int:
    since = datetime.combine(options.since, time(), KOREA)
    until = datetime.combine(options.until, time(), KOREA) + timedelta(days=1)
    with connect("sensmail-jobs") as connection:
        whom = person(connection, options.person)
        found = search(connection, options.ledger, whom, since, until, Asked(who(), options.reason))
    sys.stdout.write(tail_text(found))
    if len(found) == MOST:
        print(f"only the first {MOST} are shown: name fewer days", file=sys.stderr)
    return 0
