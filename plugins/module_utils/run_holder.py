# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may work on a host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# together they name one process, also after its number was given to another
IDENTITY = ("controller_id", "pid", "started")


def same_run(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """True when both notes are of one process of one controller."""
    return bool(one and other) and all(str(one.get(key)) == str(other.get(key)) for key in IDENTITY)  # type: ignore[union-attr]


def free_for(
    run: Mapping[str, Any], holder: Mapping[str, Any], *, ended: Mapping[str, Any] | None, expired: bool
) -> bool:
    """True when nobody is in the way of `run`.

    Args:
        run: the run that asks.
        holder: the note on the host, empty when there is none.
        ended: the holder that the controller knows to have ended; any other one may have come in the meantime.
        expired: the note is so old that whoever wrote it counts as gone.
    """
    return not holder or same_run(holder, run) or same_run(holder, ended) or expired
