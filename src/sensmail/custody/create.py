"""Make the key file in all its places, once: `python -m sensmail.custody.create`, as unit sensmail-keyd-setup.service.

It runs with the account, the credentials and the sandbox of the key service, so that what it makes is what the service
can read. A call that was cut off anywhere is completed by the next one; a key file that holds keys is never touched.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sensmail.host.hardening import HardeningError, harden
from sensmail.keyd.settings import load
from sensmail.keys import KeyFailure, Keyring, Place, Root, replicas, snapshot
from sensmail.keys.errors import KeyFileExists, RootUnavailable


def create(places: Sequence[Place], roots: Sequence[Root]) -> str:
    """Bring every place to hold the same key file; returns what was done.

    Raises:
        KeyFileExists: some place holds a key file with keys while the first holds none.
        KeyFailure: a place does not answer, or the root key does not open what is there.
    """
    holding = [each for each in places if each.read(snapshot.NAME) is not None]
    if not holding:
        _require_root(roots[-1])
        Keyring.create(places, roots, None).close()
        return f"made a key file in {_names(places)}"
    empty = [each for each in places if each not in holding]
    if empty:
        _require_unused(holding[0], roots, empty)
    # A set-up that was cut off left some places empty: the others are copied there. No number was given out yet.
    Keyring.open([*holding, *empty], roots, fill_empty=bool(empty), issued=0 if empty else None).close()
    return f"completed the key file in {_names(empty)}" if empty else f"found the key file in {_names(places)}"


def _require_root(root: Root) -> None:
    """A token that holds no key yet makes one."""
    try:
        root.identity()
    except RootUnavailable:
        make = getattr(root, "make", None)
        if make is None:
            raise
        make()


def _require_unused(place: Place, roots: Sequence[Root], empty: Sequence[Place]) -> None:
    journal, _ = replicas.read_copy(place, roots)
    if journal.epoch.number != 1 or journal.sequence != 0:
        raise KeyFileExists(
            f"{place}: holds a key file in use, but {_names(empty)} holds none: bring that place back, or fill it by "
            f"`sensmail keys fill`; nothing was changed"
        )


def _names(places: Sequence[Place]) -> str:
    return ", ".join(map(str, places))


def main() -> int:
    """Make the key file that the settings name; exit status 1 and one line on standard error where that fails."""
    try:
        harden()
        settings = load()
        print(create([Place(each) for each in settings.places], settings.roots()))
    except (KeyFailure, HardeningError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
