"""What journald says of itself: lines that it threw away, and files that it found damaged. Both are gaps."""

from __future__ import annotations

from sensmail.ledger import Detail, Entry
from sensmail.records.collector.line import Line

TRANSPORT = "driver"
DROPPED = "a596d6fe7bfa4994828e72309e95d61e"  # SD_MESSAGE_JOURNAL_DROPPED, sd-messages.h
_DAMAGED = "corrupted or uncleanly shut down"  # of a file that it puts aside; what was not synced is lost


def parse(line: Line) -> Entry | None:
    """The record of a gap, or None. `_TRANSPORT=driver` is set for journald's own lines alone."""
    if line.transport != TRANSPORT:
        return None
    if line.message_id == DROPPED:
        return _gap(line, {"reason": "journald dropped lines of a unit", "count": line.dropped, "from": line.about})
    if line.message is not None and _DAMAGED in line.message:
        return _gap(line, {"reason": "a journal file was damaged or not closed; its last lines may be missing"})
    return None


def _gap(line: Line, detail: Detail) -> Entry:
    at = line.position.at
    return Entry("access", "journal.gap", purpose="records", outcome="failed", acted_at=at, detail=detail)
