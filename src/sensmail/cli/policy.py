"""`sensmail policy`: show, check, publish and describe the privacy policy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sensmail.policy.errors import PolicyError
from sensmail.policy.load import Loaded, load
from sensmail.policy.page import LANGS, page
from sensmail.policy.rules import findings
from sensmail.policy.schema import schema_text
from sensmail.policy.show import as_json, as_text

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

#: Where a policy is looked for when no file is named: on a deployed host, then in the working copy of an operator.
PLACES = (Path("/etc/sensmail/policy.yml"), Path("inventories/local/group_vars/all/policy.yml"))


def register(subparsers: Subparsers) -> None:
    """Add the commands. The chosen one is `args.run(args)`, which returns the exit status (0 good, 1 refused)."""
    policy = subparsers.add_parser("policy", help="the privacy policy: show, check, publish")
    commands = policy.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="promise, law and applied value of every clause")
    _file_option(show)
    show.add_argument("--format", choices=("text", "json"), default="text")
    show.add_argument("--subjects", type=_count, default=0, metavar="N", help="number of data subjects (default 0)")
    show.set_defaults(run=_guarded(_show))

    check = commands.add_parser("check", help="everything that is wrong with a policy file")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_guarded(_check))

    schema = commands.add_parser("schema", help="JSON Schema of the policy file")
    schema.set_defaults(run=_guarded(lambda _args: schema_text()))

    html = commands.add_parser("page", help="the published page as HTML")
    _file_option(html)
    html.add_argument("--lang", choices=LANGS, default="ko")
    html.set_defaults(run=_guarded(lambda args: page(_load(args), args.lang)))


def _file_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file", type=Path, metavar="F", help=f"policy file (default: {' or '.join(map(str, PLACES))})"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _load(args: argparse.Namespace) -> Loaded:
    return load(args.file or next((place for place in PLACES if place.exists()), PLACES[0]))


def _show(args: argparse.Namespace) -> str:
    render = as_json if args.format == "json" else as_text
    return render(_load(args), args.subjects)


def _check(args: argparse.Namespace) -> str:
    notes = [f"Finding: {finding}\n" for finding in findings(load(args.file))]
    return "".join([*notes, f"{args.file}: the policy is accepted.\n"])


def _guarded(command: Callable[[argparse.Namespace], str]) -> Callable[[argparse.Namespace], int]:
    """Return the command with its output printed and a refused policy reported."""

    def run(args: argparse.Namespace) -> int:
        try:
            sys.stdout.write(command(args))
        except PolicyError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        return 0

    return run
