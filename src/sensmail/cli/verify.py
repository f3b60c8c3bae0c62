"""`sensmail verify`: a bundle of records, offline. An auditor without a host has the same as `sensmail-verify`."""

from __future__ import annotations

import argparse

from sensmail.records.verify import command


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("verify", help=command.HELP)
    command.arguments(parser)
    parser.set_defaults(run=command.run)
