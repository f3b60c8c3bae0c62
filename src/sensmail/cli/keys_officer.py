"""`sensmail keys officer`, `piece`: what an officer does on an own computer without a network. Needs no host."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sensmail.cli.asking import guard, passphrase
from sensmail.keys import Place, officer, piece
from sensmail.keys.pieces import slot_of


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    group = actions.add_parser("officer", help="an officer's own key, offline")
    new = group.add_subparsers(metavar="ACTION", required=True).add_parser(
        "new", help="make a key in FILE, its public half in FILE.pub"
    )
    new.add_argument("file", type=Path, metavar="FILE")
    new.set_defaults(run=_new)
    part = actions.add_parser("piece", help="an officer's part of opening a copy, offline")
    part.add_argument("slot", type=Path, help="the slot file that the operator handed over, or a whole copy")
    part.add_argument("key", type=Path, help="the officer's key file")
    part.add_argument("--output", type=Path, required=True, metavar="FILE", help="new file for the piece")
    part.set_defaults(run=_piece)


def _new(options: argparse.Namespace) -> int:
    guard()
    public = Path(f"{options.file}.pub")
    officer.refuse_existing(options.file, public)
    key = officer.create(options.file, public, passphrase(f"new passphrase for {options.file}", twice=True))
    print(f"private key: {options.file}   keep it, offline; the passphrase somewhere else")
    print(f"public key:  {public}   give it to the operator of the host")
    print(public.read_text(encoding="ascii"), end="")
    print(f"fingerprint: {officer.fingerprint(key.public_bytes_raw())}   on paper; compare when it is read to you")
    return 0


def _piece(options: argparse.Namespace) -> int:
    guard()
    officer.refuse_existing(options.output)
    slot = slot_of(Place(options.slot)) if options.slot.is_dir() else officer.read(options.slot)
    key = officer.load_private(options.key, passphrase(f"passphrase of {options.key}"))
    officer.write_new(options.output, piece(key, slot).encode(), 0o600)
    fix = "two pieces of one epoch are its key: carry it by itself, and destroy it after use"
    print(f"piece: {options.output}   {fix}", file=sys.stderr)
    return 0
