"""Whether a line follows the one before it, and what is said where it does not.

journald numbers its lines without a gap, one sequence from a start of the system to the next. A number that is left out
is a line that nobody will read: vacuumed, lost with a damaged file, or deleted.
"""

from __future__ import annotations

from sensmail.ledger import Detail, Entry
from sensmail.records.collector.line import Position


def follows(before: Position, after: Position) -> bool:
    """Whether no number is missing between two lines. A new sequence begins with any number: see `gap_at_start`."""
    return after.stream != before.stream or after.number == before.number + 1


def gap(before: Position, after: Position, reason: str) -> Entry:
    """The record of lines that are missing between two others.

    `first` and `last` are the missing numbers where they can be told; `from` and `to` the times around them.
    """
    detail: Detail = {"reason": reason, "from": _second(before), "to": _second(after)}
    if after.stream == before.stream and after.number > before.number:
        missing = {"first": before.number + 1, "last": after.number - 1, "count": after.number - before.number - 1}
        detail = {**detail, **missing}
    return Entry("access", "journal.gap", purpose="records", outcome="failed", acted_at=after.at, detail=detail)


def _second(place: Position) -> str:
    return place.at.isoformat(timespec="seconds")
