"""What a command asks of the person: a passphrase or a yes at the terminal, who they are and why."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import pwd
import resource
import sys
import warnings

from sensmail.cli.errors import CommandError
from sensmail.host.hardening import HardeningError, harden
from sensmail.keyd.protocol import Why


def passphrase(prompt: str, *, twice: bool = False) -> str:
    """Ask without showing what is typed, on the terminal itself and never on standard input.

    Raises:
        CommandError: there is no terminal, or the second answer differs from the first.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            given = getpass.getpass(f"{prompt}: ")
            again = getpass.getpass(f"{prompt}, again: ") if twice else given
        except (getpass.GetPassWarning, EOFError):
            raise CommandError("a passphrase is asked on a terminal only; run this command at one") from None
    if given != again:
        raise CommandError("the two passphrases differ; nothing was written; run the command again")
    return given


def confirm(question: str) -> None:
    """Go on only when the answer is yes.

    Raises:
        CommandError: another answer, or nobody there to answer.
    """
    if not sys.stdin.isatty():
        raise CommandError("this must be confirmed by a person; run it at a terminal, or add --yes after comparing")
    if input(f"{question} Type yes: ").strip().lower() != "yes":
        raise CommandError("not confirmed; nothing was changed")


def guard() -> None:
    """Before this process holds a key: no core dump, no swap; where the system does not allow that, say so."""
    with contextlib.suppress(OSError, ValueError):  # an ordinary user may not; then locking fails below
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        harden()
    except HardeningError:
        text = "memory cannot be locked here, so that a key may reach a swap device: `swapoff -a` first"
        print(f"sensmail: {text}", file=sys.stderr)


def who() -> str:
    """The person behind this command, for the records: the account before sudo, or the login account."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def why_options(parser: argparse.ArgumentParser, reason: str | None = None) -> None:
    """Add `--reason`, which must be given where there is no default, and `--approver`."""
    parser.add_argument("--reason", default=reason, required=reason is None, help="why; stands in the records")
    parser.add_argument("--approver", default="", metavar="ROLE", help="who approved, where the policy asks for it")


def why(options: argparse.Namespace) -> Why:
    """What the records will say of this command."""
    return Why(who(), options.reason, options.approver)
