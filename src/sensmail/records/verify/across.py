"""What one log says of another: the governance ledger has prunes and exports, a generation cites the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sensmail.records.entry import Entry
from sensmail.records.note import decode64, encode64
from sensmail.records.tree import Range
from sensmail.records.verify.result import CutSeen, LogResult, Result

EXPORT, PRUNE, GENERATION = "records.export", "records.prune", "records.generation"
_DAY = 86_400


def across(result: Result, export: int | None) -> None:
    """Compare the logs of a bundle; adds findings to them."""
    governance = [each for each in result.logs if each.ledger == "governance"]
    acts = [each for log in governance for each in log.acts if each.seq < log.verified]
    for log in result.logs:
        log.cuts = [_cut(log, each, governance, acts) for each in log.cuts]
        if log.generation > 1:
            _generation(log, result)
    if governance:
        _export(governance[-1], export)


def _export(log: LogResult, number: int | None) -> None:
    if number is None:
        log.find("export_unsealed")
    elif not any(each.seq == number and each.act == EXPORT for each in log.acts):
        log.find("export_missing", number=number)


def _cut(log: LogResult, cut: CutSeen, governance: list[LogResult], acts: list[Entry]) -> CutSeen:
    """The record of the prune has the same size and root, and says that the time was over."""
    if not governance:
        log.find("cut_unrecorded_here", size=cut.size, time=cut.made)
        return cut
    root = encode64(Range.from_bytes(cut.size, decode64(cut.range, "compact range")).root())
    for each in acts:
        detail = _detail(each)
        wanted = {"ledger": log.ledger, "generation": log.generation, "size": cut.size, "root": root}
        if each.act == PRUNE and each.outcome == "done" and wanted.items() <= detail.items():
            sealed, days = _number(detail, "sealed") // 1_000_000, _number(detail, "days")
            if each.sealed // 1_000_000 - sealed < days * _DAY:  # by the sealer's clock, not by the writer's
                log.find("cut_early", size=cut.size, time=cut.made, sealed_time=sealed, days=days)
            if not cut.after <= sealed <= cut.before:
                log.find("cut_untrue", size=cut.size, sealed_time=sealed, after_time=cut.after, time=cut.before)
            return replace(cut, sealed=sealed, days=days)
    oldest = max((each.cuts[-1].made for each in governance if each.cuts), default=0)
    if cut.made > oldest:  # else its record may have been deleted in its turn, after its own period
        log.find("cut_unrecorded", size=cut.size, time=cut.made)
    return cut


def _generation(log: LogResult, result: Result) -> None:
    """The first record of a later generation says how many records were lost."""
    if log.first or not log.verified:
        return  # pruned, or nothing to read
    first = next((each for each in log.acts if each.seq == 0), None)
    detail = _detail(first) if first else {}
    if first is None or first.act != GENERATION or _number(detail, "generation") != log.generation:
        log.find("generation_unexplained")
        return
    size, lost = _number(detail, "size"), _number(detail, "lost")
    log.find(
        "generation", generation=log.generation, time=first.at // 1_000_000, size=size, lost=lost,
        reason=_text(detail, "reason"), approver=_text(detail, "approver"),
    )  # fmt: skip
    before = next(
        (each for each in result.logs if (each.ledger, each.generation) == (log.ledger, log.generation - 1)), None
    )
    if before and before.stated + lost != size:
        log.find("generation_differs", size=size, lost=lost, stated=before.stated)


def _detail(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(entry.detail))
    return found


def _number(detail: dict[str, Any], name: str) -> int:
    value = detail.get(name)
    return value if isinstance(value, int) else 0


def _text(detail: dict[str, Any], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""
