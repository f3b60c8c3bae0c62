"""Records as the inbox takes them: names that may be kept, text that fits and prints, many refused lines as one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from sensmail.ledger import Entry
from sensmail.records.collector.found import Act, Refused
from sensmail.records.collector.line import Line
from sensmail.records.collector.names import Names

MARK = "…"  # where a text was cut
LENGTHS = {"account": 320, "origin": 200, "client": 200, "unit": 256}  # characters, as the inbox allows
_DETAIL = 128
_LARGEST = 2**53 - 1  # that every reader of JSON knows; a leaf of the ledger holds no greater one
Value = str | int | list[int] | list[str]
_BAD = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})


def text(value: str, most: int) -> str:
    """A text without control characters, cut with a mark where it is longer than `most` characters."""
    cut = value if len(value) <= most else value[: most - 1] + MARK
    if cut.isprintable():
        return cut
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in _BAD else each for each in cut)


def entry(line: Line, what: Act | Entry, clock: str, names: Names, people: Mapping[str, UUID]) -> Entry:
    """The record of an act that a line tells of."""
    detail = {key: _fit(each) for key, each in what.detail.items()}
    if isinstance(what, Entry):
        return replace(what, clock=clock, unit=text(line.unit, LENGTHS["unit"]), detail=detail)
    account, subject = names.account(what.account, what.kind, people)
    return Entry(
        "access",
        what.act,
        text(account, LENGTHS["account"]),
        text(what.origin, LENGTHS["origin"]),
        subject,
        text(what.client, LENGTHS["client"]),
        what.purpose,
        what.outcome,
        text(line.unit, LENGTHS["unit"]),
        detail=detail,
        acted_at=line.position.at,
        clock=clock,
    )


def _fit(value: Value) -> Value:
    if isinstance(value, str):
        return text(value, _DETAIL)
    return max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value


def refusals(refused: Iterable[tuple[Line, Refused, str]], names: Names) -> list[Entry]:
    """One record for all refused lines of a batch that have reason, unit and user in common.

    The digest is over all of them in order, keyed: what was refused may hold a password.
    """
    groups: dict[tuple[str, str, int], list[tuple[Line, str]]] = {}
    for line, what, clock in refused:
        groups.setdefault((what.reason, line.unit, line.uid), []).append((line, clock))
    return [_refusal(reason, uid, lines, names) for (reason, _, uid), lines in groups.items()]


def _refusal(reason: str, uid: int, lines: list[tuple[Line, str]], names: Names) -> Entry:
    first, clock = lines[0]
    whole = "\n".join(line.message or "" for line, _ in lines)
    return Entry(
        "access",
        "journal.refused",
        account=f"uid {uid}",
        purpose="records",
        outcome="refused",
        unit=text(first.unit, LENGTHS["unit"]),
        detail={"reason": reason, "count": len(lines), "digest": names.digest(whole.encode(errors="replace"))},
        acted_at=first.position.at,
        clock=clock,
    )
