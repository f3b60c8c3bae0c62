"""One line of the journal, as `journalctl --output=json` prints it. Source: systemd.journal-fields(7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

#: What a line is asked for. Those with an underscore are journald's own; the rest is what the sender claims.
FIELDS = (
    "MESSAGE", "MESSAGE_ID", "SYSLOG_IDENTIFIER", "N_DROPPED", "UNIT",
    "_COMM", "_EXE", "_PID", "_SYSTEMD_UNIT", "_TRANSPORT", "_UID",
)  # fmt: skip
# Opaque by its manual page, but the number of a line stands nowhere else before systemd 254 (__SEQNUM), and the form
# has been the same since 2011. Another form is an error: no line is read whose number is not known.
_CURSOR = re.compile(
    r"s=(?P<stream>[0-9a-f]{32});i=(?P<number>[0-9a-f]+);b=(?P<boot>[0-9a-f]{32});"
    r"m=(?P<monotonic>[0-9a-f]+);t=(?P<time>[0-9a-f]+);x=[0-9a-f]+"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_US = 7_258_118_399_000_000  # the end of the year 2199, the last that the inbox takes
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class NoLine(Exception):
    """What journalctl printed is no line of a journal. Its number will be missing, so it becomes a gap."""


class StrangeCursor(Exception):
    """The place of a line cannot be told: nothing may be read past it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a line stands.

    Attributes:
        cursor: journald's own name of the place.
        stream, number: of the sequence that journald numbers its lines by, in steps of one.
        boot: id of the run of the system. time, monotonic: microseconds, since 1970 and since that start.
    """

    cursor: str
    stream: str
    number: int
    boot: str
    time: int
    monotonic: int

    @property
    def at(self) -> datetime:
        """The time, at most the end of the year 2199."""
        return _EPOCH + timedelta(microseconds=min(self.time, _MAX_US))


@dataclass(frozen=True, slots=True)
class Line:
    """A line; what journald vouches for, and what the sender claims (`message`, `identifier`, `message_id`).

    `message` is None where journalctl left it out, because it is longer than 4,096 bytes.
    """

    position: Position
    message: str | None
    unit: str
    uid: int
    pid: int
    comm: str
    exe: str
    transport: str
    identifier: str
    message_id: str
    dropped: int = 0
    about: str = ""


def parse(text: bytes) -> Line:
    """One line of JSON.

    Raises:
        NoLine: it is none. StrangeCursor.
    """
    try:
        fields = _decode(text)
    except msgspec.MsgspecError as error:
        raise NoLine(f"journalctl printed no JSON object ({error})") from None
    huge = "MESSAGE" in fields and fields["MESSAGE"] is None
    return Line(
        position(_text(fields.get("__CURSOR"))),
        None if huge else _text(fields.get("MESSAGE")),
        _text(fields.get("_SYSTEMD_UNIT")),
        _number(fields.get("_UID")),
        _number(fields.get("_PID")),
        _text(fields.get("_COMM")),
        _text(fields.get("_EXE")),
        _text(fields.get("_TRANSPORT")),
        _text(fields.get("SYSLOG_IDENTIFIER")),
        _text(fields.get("MESSAGE_ID")),
        max(_number(fields.get("N_DROPPED")), 0),
        _text(fields.get("UNIT")),
    )


def position(cursor: str) -> Position:
    """What a cursor says.

    Raises:
        StrangeCursor: it has another form.
    """
    found = _CURSOR.fullmatch(cursor)
    if not found:
        raise StrangeCursor("the cursor of a line has another form than this release knows; nothing is read past it")
    number, time, monotonic = (int(found[name], 16) for name in ("number", "time", "monotonic"))
    return Position(cursor, found["stream"], number, found["boot"], time, monotonic)


def _text(value: object) -> str:
    """A field: text, bytes as a list of numbers, or several values, of which the first counts."""
    if isinstance(value, list):
        if value and all(isinstance(each, int) for each in value):
            return bytes(each & 0xFF for each in value).decode(errors="replace")
        return _text(value[0]) if value else ""
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    text = _text(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
