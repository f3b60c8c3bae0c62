"""The command `sensmail`: parse, call one function of a capability, print. No logic of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg

from sensmail.accounts import AccountError
from sensmail.cli import account, db, fields, keys, policy, records, verify, witness
from sensmail.cli.errors import CommandError
from sensmail.keyd.errors import KeyServiceError
from sensmail.keys import KeyFailure
from sensmail.ledger import LedgerError
from sensmail.records.errors import RecordsError
from sensmail.rotation.errors import RotationError
from sensmail.store import StoreError

REFUSALS = (
    AccountError, CommandError, KeyFailure, KeyServiceError, LedgerError, RecordsError, RotationError, StoreError,
    psycopg.Error,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The whole command line; each subcommand sets `run`: parsed arguments in, exit code out."""
    result = argparse.ArgumentParser(prog="sensmail", description="The privacy engine of this mail host.")
    commands = result.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (account, db, fields, keys, policy, records, verify, witness):
        command.register(commands)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit code 0: done; 1: refused, the reason on standard error; 2: wrong command line."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except REFUSALS as error:
        print(f"sensmail: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader went away, as `head` does
        sys.stderr.close()
        return 1
