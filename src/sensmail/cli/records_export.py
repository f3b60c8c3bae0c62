"""`sensmail records export`: a bundle for an auditor."""

from __future__ import annotations

import argparse
from pathlib import Path

from sensmail.cli.asking import who
from sensmail.records.entry import LEDGERS
from sensmail.records.export import Asked, export
from sensmail.store import connect

_ROLE = "sensmail-jobs"


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export` to the actions of `sensmail records`."""
    exporting = actions.add_parser("export", help="write a bundle for an auditor (recorded first)")
    exporting.add_argument("path", type=Path, metavar="FILE", help="must not exist; readable by its owner only")
    exporting.add_argument("--reason", required=True, help="why; stands in the records")
    exporting.add_argument(
        "--ledger",
        action="append",
        choices=LEDGERS,
        help="only this one; default: both, which proves deletions as well",
    )
    exporting.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    with connect(_ROLE) as connection:
        done = export(connection, options.path, Asked(who(), options.reason), options.ledger or LEDGERS)
    print(f"{done.path}: {done.records} records of {done.logs} logs")
    if done.number is None:
        print("the record of this export is not sealed yet: journalctl -u sensmail-sealer")
    else:
        print(f"recorded as governance {done.number}")
    print("verify it elsewhere, by keys that did not come with it: sensmail-verify FILE --log-key … --witness-key …")
    return 0
