"""`sensmail records generation`: what a restore lost, and the next generation of the logs."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sensmail.cli.asking import who
from sensmail.records import generation
from sensmail.records.generation import Loss, Order
from sensmail.records.sealer import ROLE
from sensmail.records.settings import load
from sensmail.store import connect


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to `sensmail records`."""
    group = actions.add_parser("generation", help="after a lawful restore: what was lost, and a new generation")
    kinds = group.add_subparsers(metavar="ACTION", required=True)
    kinds.add_parser("look", help="what is known to be lost; changes nothing").set_defaults(run=_look)
    opening = kinds.add_parser("open", help="open the next generation where one is needed; stop sensmail-sealer first")
    opening.add_argument("--reason", required=True, help="why the database was put back; stands in its first record")
    opening.add_argument("--approver", required=True, metavar="ROLE", help="who approved; the same")
    opening.set_defaults(run=_open)


def _look(_: argparse.Namespace) -> int:
    with _as_sealer(), connect(ROLE) as connection:
        found = generation.losses(connection, load().directory)
    print("\n".join(map(_line, found)) or "nothing is known to be lost")
    return 1 if found else 0


def _open(options: argparse.Namespace) -> int:
    order = Order(who(), options.reason, options.approver)
    with _as_sealer(), connect(ROLE) as connection:
        found = generation.open_next(connection, load().directory, order)
    for each in found:
        print(f"{_line(each)}. Generation {each.generation + 1} is open")
    print("start sensmail-sealer, and give the new verifier keys to the auditor: sensmail records status")
    return 0


def _line(loss: Loss) -> str:
    return f"{loss.ledger} generation {loss.generation}: {loss.held} records are here, {loss.lost} of {loss.known} lost"


@contextmanager
def _as_sealer() -> Iterator[None]:
    """As the sealer's account, so that the files of its keys stay its own; who is not root stays who they are."""
    user = None
    with suppress(KeyError):
        user = pwd.getpwnam(ROLE) if os.geteuid() == 0 else None
    if user is None:
        yield
        return
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
