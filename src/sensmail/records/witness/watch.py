"""When a log that a witness watches is cause for alarm: silence, and clocks that differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sensmail.records.checkpoint import Checkpoint, Origin

SILENT_MINUTES = 15  # the sealer signs every ten seconds, also where nothing happens
SKEW_S = 120


@dataclass(frozen=True)
class Seen:
    """The newest checkpoint of a log, and when the witness first cosigned it, in seconds since 1970."""

    body: Checkpoint
    cosigned: int


def alarms(
    origin: str, seen: Seen | None, now: int, *, silent_minutes: int = SILENT_MINUTES, skew_s: int = SKEW_S
) -> Iterator[str]:
    """What is wrong with one log, a line each.

    A checkpoint's own time decides on silence, so that handing in the same one again hides nothing. One that is stamped
    with a future time hides nothing either: the time at which it came counts as well.
    """
    name = short(origin)
    if seen is None:
        yield f"{name}: no checkpoint yet. Does sensmail-publisher run on the mail host, and reach this witness?"
        return
    heard = min(seen.body.time, seen.cosigned)
    if now - heard > 60 * silent_minutes:
        yield (
            f"{name}: silent for {(now - heard) // 60} minutes, at most {silent_minutes} are normal. Look at "
            "sensmail-sealer "
            f"and sensmail-publisher on the mail host; until it speaks again, what it records can still be altered"
        )
    ahead = seen.body.time - seen.cosigned
    if abs(ahead) > skew_s:
        yield (
            f"{name}: its clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} that of this witness, at "
            "most "
            f"{skew_s} s are normal. Look at chrony on both"
        )


def short(origin: str) -> str:
    """An origin for people: without the digest of its first key."""
    found = Origin.from_text(origin)
    return f"{found.log}/{found.ledger}/{found.generation}"
