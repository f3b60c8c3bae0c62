"""`sensmail account`: mailboxes, their app passwords, and the personal items of their owners."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime

from sensmail import accounts
from sensmail.accounts.address import canonical_address
from sensmail.accounts.app_password import DEFAULT_SCOPE, SCOPES, check_selector
from sensmail.cli import asking
from sensmail.keyd.protocol import Actor
from sensmail.store import Connection, connect


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("account", help="mailboxes, app passwords and personal items (as root)")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("list", help="all mailboxes with their app passwords").set_defaults(run=_list)
    add = actions.add_parser("add", help="make a mailbox, or alter its quota and send limit")
    add.add_argument("address")
    add.add_argument("--quota", help="bytes, or with K, M, G, T; default 5G")
    add.add_argument("--send-limit", type=int, metavar="N", help="mails an hour; default 200")
    add.set_defaults(run=_add)
    show = actions.add_parser("show", help="open the personal items of a mailbox's owner; this is recorded first")
    show.add_argument("address")
    show.add_argument("--purpose", required=True, help="of the policy, for example request (articles 5 and 10)")
    show.add_argument("--reason", required=True, help="why; stands in the records")
    show.set_defaults(run=_show)
    words = actions.add_parser("app-password", help="passwords for mail programs, one per device")
    _register_app_password(words.add_subparsers(metavar="ACTION", required=True))


def _register_app_password(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    issue = actions.add_parser("issue", help="make one; it is shown once and kept nowhere")
    issue.add_argument("address")
    issue.add_argument("--label", required=True, help="the device, for example phone")
    issue.add_argument("--scope", nargs="+", choices=SCOPES, default=list(DEFAULT_SCOPE))
    issue.add_argument("--expires", metavar="DATE", help="last day it works, for example 2027-01-31; default: never")
    issue.set_defaults(run=_issue)
    revoke = actions.add_parser("revoke", help="end one at once")
    revoke.add_argument("selector", help="its first 8 characters")
    revoke.set_defaults(run=_revoke)


def _connect() -> Connection:
    return connect(accounts.ROLE)


def _list(_: argparse.Namespace) -> int:
    with _connect() as connection:
        mailboxes = accounts.listing(connection)
    for mailbox in mailboxes:
        size = f"{mailbox.quota_bytes / 2**30:.1f} GiB"
        print(f"{mailbox.address}  {mailbox.state}  {size}  {mailbox.send_limit_per_hour} mails/h")
        for row in mailbox.app_passwords.values():
            print(f"    {row.selector}  {row.label}  {','.join(row.scope)}  expires {_day(row.expires)}")
    if not mailboxes:
        print("no mailboxes yet")
    return 0


def _add(options: argparse.Namespace) -> int:
    item = {"address": options.address, "quota": options.quota, "send_limit_per_hour": options.send_limit}
    wanted = accounts.wanted(accounts=[item])
    with _connect() as connection:
        outcome = accounts.ensure(connection, wanted)
    print(outcome.after.rstrip() or f"{wanted.mailboxes[0].address} is there already, nothing changed")
    return 0


def _show(options: argparse.Namespace) -> int:
    actor = Actor(asking.who(), _origin(), "sensmail account show")
    address = canonical_address(options.address)
    with _connect() as connection:
        shown = accounts.show(connection, address, options.purpose, actor, options.reason)
    for item, value in shown.items.items():
        print(f"{item}: {value}")
    for item, refusal in shown.refused.items():
        print(f"sensmail: {item} of {address} does not open: {refusal}", file=sys.stderr)
    if not shown.items and not shown.refused:
        print(f"{address} has no personal items stored")
    return 1 if shown.refused else 0


def _origin() -> str:
    """Where the person sits: the address that the SSH session came from, else the terminal."""
    if came_from := os.environ.get("SSH_CONNECTION", "").partition(" ")[0]:
        return came_from
    return os.ttyname(0) if os.isatty(0) else ""


def _issue(options: argparse.Namespace) -> int:
    wanted = accounts.device({"label": options.label, "scope": options.scope, "expires": options.expires})
    with _connect() as connection:
        new = accounts.issue(connection, canonical_address(options.address), wanted)
    print(f"app password {new.label!r} of {new.address}, shown this once:", file=sys.stderr)
    print(new.token)
    return 0


def _revoke(options: argparse.Namespace) -> int:
    with _connect() as connection:
        address, label = accounts.revoke(connection, check_selector(options.selector))
    print(f"revoked: {label!r} of {address}")
    return 0


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
