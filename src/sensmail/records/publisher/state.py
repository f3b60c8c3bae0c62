"""How publishing goes: written by the service for whoever asks, and judged. No secret, no personal data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from sensmail.records.publisher.errors import PublishError
from sensmail.records.publisher.settings import STATE, Settings


class Entry(msgspec.Struct):
    """One ledger at one witness. Times are seconds since 1970.

    Attributes:
        size, time, at: of the newest cosigned checkpoint: records, its own time, that of the cosignature; 0: none yet.
        trouble, said: name and text of what is in the way; empty where nothing is.
        alarm: whether it does not pass by itself.
        since: when it began.
    """

    witness: str
    ledger: str
    size: int = 0
    time: int = 0
    at: int = 0
    trouble: str = ""
    said: str = ""
    alarm: bool = False
    since: int = 0


class State(msgspec.Struct):
    """All of it. `written`: when, seconds since 1970."""

    written: int
    entries: list[Entry]


def write(state: State, path: Path = STATE) -> None:
    """Replace the file in one step. Raises OSError."""
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(state))
    beside.replace(path)


def read(path: Path = STATE) -> State:
    """Raises PublishError: it is not there, or not of the form."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError) as error:
        raise PublishError(
            f"{path}: {error}. Does sensmail-publisher.service run? `systemctl status` says why"
        ) from error


def alarms(state: State, settings: Settings, now: int) -> Iterator[str]:
    """What somebody has to look at, a line each."""
    stale = 60 * settings.stale_minutes
    if now - state.written > stale:
        yield f"sensmail-publisher has said nothing for {(now - state.written) // 60} minutes; look at its unit"
        return
    known = {each.key for each in settings.witnesses}
    for each in state.entries:
        name = f"{each.ledger} at {each.witness.partition('+')[0]}"
        if each.witness in known and each.alarm:
            yield f"{name}: {each.trouble}: {each.said}"
        elif each.witness in known and now - max(each.time, 0) > stale and (each.time or now - each.since > stale):
            since = f"{(now - each.time) // 60} minutes old" if each.time else "missing"
            yield f"{name}: the newest cosigned checkpoint is {since}. {each.said or 'Look at sensmail-sealer'}"
