"""How `sensmail keys` shows the service, the register and what a ceremony found. Dates in Korean time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sensmail.cli.table import KOREA, korean_time, spreadsheet, table
from sensmail.keyd.protocol import Status
from sensmail.keyd.register import Line
from sensmail.keys.officer import fingerprint
from sensmail.rotation.compare import Compared
from sensmail.rotation.due import Due

_KINDS = {"root": "최상위 키", "epoch": "에포크 키", "recovery": "복구 책임자", "subject": "정보주체 키"}
_CLASSES = {"software": "덮어쓰기 (software)", "hardware": "보안장비 (hardware)", "none": "해당 없음 (none)"}
#: Heading of the register's file, and what stands below it.
_COLUMNS: tuple[tuple[str, Callable[[Line], object]], ...] = (
    ("번호", lambda line: line.id),
    ("키 파일", lambda line: line.ring),
    ("종류", lambda line: f"{_KINDS[line.kind]} ({line.kind})"),
    ("키 식별자", lambda line: line.key),
    ("용도", lambda line: line.purpose),
    ("보관 방식", lambda line: line.provider),
    ("키 개수", lambda line: line.count or ""),
    ("생성일", lambda line: korean_time(line.made)),
    ("사용 시작일", lambda line: korean_time(line.activated)),
    ("교체일", lambda line: korean_time(line.retired)),
    ("키 파일에서 삭제한 날", lambda line: korean_time(line.dropped)),
    ("파기일", lambda line: korean_time(line.destroyed)),
    ("파기 등급", lambda line: _CLASSES.get(line.destruction or "", "") if line.destroyed else ""),
    ("승인자", lambda line: line.approver or ""),
    ("사유", lambda line: line.reason or ""),
    ("비고", lambda line: line.remark),
)


def status_text(status: Status) -> str:
    """The state of the service, a line a fact."""
    root = next((each for each in status.roots if each.identity == status.wrapped_by), None)
    provided = f", {root.provider}, destruction {root.destruction}" if root else ""
    nobody = [] if status.officers else [("officers", "none, so a lost host is final: `sensmail keys officers set`")]
    rows = [
        ("key file", f"{status.ring}, epoch {status.epoch}, {status.sequence} changes"),
        ("old epochs", "some place may still open one: roll" if status.destroying else "gone from every place"),
        *(("place", f"{place}: {state}") for place, state in status.places.items()),
        *(("lost place", f"{place}, given up {korean_time(_moment(at))}") for place, at in status.lost.items()),
        ("root", f"{status.wrapped_by}{provided}"),
        *(("other root", f"{each.identity}, {each.provider}") for each in status.roots if each is not root),
        *(("officer", fingerprint(bytes.fromhex(each))) for each in status.officers),
        *nobody,
        ("keys", ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in status.counts.items())),
        ("openings", f"{status.issued} numbers given out, {status.settled} settled"),
        ("database", status.database),
        ("memory", "locked" if status.memory_locked else "not locked: it may reach a swap device"),
        ("started", korean_time(_moment(status.started))),
    ]
    return "".join(f"{name + ':':<12}{text}\n" for name, text in rows)


def register_text(lines: Sequence[Line]) -> str:
    """The register as a table for a terminal: dates without the time, long names cut."""
    heads = ("키 파일", "종류", "키", "개수", "생성", "사용", "교체", "삭제", "파기", "등급", "승인")
    rows: list[Sequence[str]] = [heads]
    for line in lines:
        dates = (line.made, line.activated, line.retired, line.dropped, line.destroyed)
        days = (korean_time(each)[:10] for each in dates)
        grade = line.destruction or "" if line.destroyed else ""
        key = line.key if len(line.key) <= 34 else f"{line.key[:33]}…"
        rows.append((line.ring[:8], _KINDS[line.kind], key, str(line.count or ""), *days, grade, line.approver or ""))
    return table(rows)


def register_csv(lines: Iterable[Line]) -> str:
    """The register for a spreadsheet: Korean headings, and the mark that makes one read UTF-8."""
    return spreadsheet(_COLUMNS, lines)


def due_text(dates: Iterable[Due], moment: datetime | None = None) -> str:
    """A line for each kind of change: since when it is due, or when it will be, and why."""
    now = moment or datetime.now(KOREA)
    return "".join(
        f"{each.action + ':':<18}{'due since' if each.now(now) else 'due on'} {korean_time(each.on)}  {each.why}\n"
        for each in dates
    )


def compared_text(found: Compared) -> str:
    """What has no key, a line each, and what it means."""
    advice = {
        "tombstone": "purged after this database's backup; purge the row again",
        "unknown": "no key was ever in this key file: lost; the person must be asked again",
        "destroyed": "sealed under a key version that is destroyed: lost; the person must be asked again",
    }
    lines = [f"{each.column}  {each.subject}  v{each.version}  {each.why}: {advice[each.why]}" for each in found.bare]
    return "\n".join([*lines, f"{found.values} sealed values, {len(found.bare)} without a key"]) + "\n"


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, KOREA)
