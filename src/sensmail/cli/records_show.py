"""How `sensmail records` shows logs and records: Korean and English headings, times in Korea with their offset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sensmail.cli.table import KOREA, table
from sensmail.records.reading import Queue, Record, State

_LEDGERS = {"access": "접속기록 (access)", "governance": "관리대장 (governance)"}
_OUTCOMES = {"done": "완료", "refused": "거부", "failed": "실패", "void": "무효"}
_HEADS = (
    "번호 No",
    "일시 Time",
    "계정 Account",
    "접속지 Origin",
    "정보주체 Subject",
    "수행업무 Act",
    "목적 Purpose",
    "결과 Outcome",
)


def moment_text(moment: datetime | None) -> str:
    """With seconds and offset; nothing for what is not known."""
    return f"{moment.astimezone(KOREA):%Y-%m-%d %H:%M:%S%z}" if moment else ""


def state_text(states: Sequence[State], waiting: Queue) -> str:
    """The state of the logs, a line a fact."""
    rows = []
    for each in states:
        signed = moment_text(datetime.fromtimestamp(each.signed, UTC))
        rows += [
            ("기록 ledger", f"{_LEDGERS[each.ledger]}, generation {each.generation}"),
            ("번호 records", f"{each.first} … {each.size - 1}" if each.size > each.first else "없음 none yet"),
            ("서명 checkpoint", f"{signed}, key {each.turn}"),
            ("검증키 log key", each.log_key),
        ]
    since = f", {moment_text(waiting.since)} …" if waiting.since else ""
    rows.append(("대기 waiting", f"{waiting.count}{since}"))
    return table(rows)


def tail_text(records: Sequence[Record]) -> str:
    """A table, a line a record."""
    return table([_HEADS, *map(_line, records)])


def _line(record: Record) -> Sequence[str]:
    subject, outcome = str(record.subject or ""), f"{_OUTCOMES[record.outcome]} {record.outcome}"
    who, where = _plain(record.account), _plain(record.origin)
    return (str(record.seq), moment_text(record.at), who, where, subject, record.act, record.purpose, outcome)


def record_text(ledger: str, record: Record) -> str:
    """Every member, a line each."""
    rows = [
        ("기록 ledger", _LEDGERS[ledger]),
        ("번호 number", f"{record.seq}, generation {record.generation}"),
        ("일시 time", moment_text(record.at)),
        ("접수 received", moment_text(record.received)),
        ("봉인 sealed", moment_text(record.sealed)),
        ("시계 clock", record.clock),
        ("계정 account", record.account),
        ("접속지 origin", record.origin),
        ("정보주체 subject", str(record.subject or "")),
        ("수행업무 act", record.act),
        ("프로그램 client", record.client),
        ("목적 purpose", record.purpose),
        ("결과 outcome", f"{_OUTCOMES[record.outcome]} {record.outcome}"),
        ("유닛 unit", record.unit),
        ("열람번호 opening", str(record.opening or "")),
        ("상세 detail", json.dumps(record.detail, ensure_ascii=False)),
    ]
    return table([(name, _plain(text)) for name, text in rows])


def _plain(text: str) -> str:
    """What a terminal would obey, such as an escape sequence in a forged name, is shown instead."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
