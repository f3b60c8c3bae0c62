"""One writer for a key file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

from sensmail.keys.errors import Locked, PlaceUnreachable
from sensmail.keys.places import Place

_LOCK = "lock"


def check_distinct(places: Sequence[Place]) -> None:
    """Raise ValueError unless there are at least two places and no two are the same directory."""
    if len({each.directory.resolve() for each in places}) < max(2, len(places)):
        raise ValueError("a key file lies in at least two different places; name a second directory")


def take_lock(place: Place) -> int:
    """Take the advisory lock (flock(2)) that ends with the process; close the descriptor to release it.

    Raises:
        Locked: another process has it. PlaceUnreachable.
    """
    try:
        fd = os.open(place.path(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PlaceUnreachable(f"{place}: {_LOCK}: {error.strerror}; make the directory, or bring it back") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Locked(f"{place}: another process holds the key file; stop it first") from None
    return fd
