"""How `sensmail witness` shows both sides: Korean and English headings, times of Korea."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sensmail.cli.table import KOREA, table
from sensmail.records.publisher.settings import Settings as PublisherSettings
from sensmail.records.publisher.state import Entry, State
from sensmail.records.witness import watch
from sensmail.records.witness.ask import Watched
from sensmail.records.witness.settings import Settings

_NONE = "없음 / none"
_APART = "관리자 분리 / separate administrator"
_SEPARATE = {
    False: "예 / yes",
    True: "아니오: 한 관리 서버가 둘 다 관리하므로 보장이 약합니다 "
    "/ no: one controller runs both, so the guarantee is weaker",
}
_NOBODY = "이 서버의 기록은 외부에서 확인되지 않습니다 / nobody outside confirms the records of this host"
_SEEN = ("원장 / log", "기록 수 / records", "체크포인트 / checkpoint", "경과 / age")
_HANDED_IN = (
    "원장 / log", "증인 / witness", "기록 수 / records", "확인된 시각 / cosigned as of", "경과 / age", "문제 / trouble"
)  # fmt: skip

Facts = list[tuple[str, str]]


def witness_text(settings: Settings, watched: Sequence[Watched], now: int) -> str:
    """The witness's side."""
    facts: Facts = [("증인 / witness", settings.name), (_APART, _SEPARATE[settings.same_controller])]
    rows = [_SEEN, *(_watched(each, now) for each in watched)]
    return _text("증인 상태 / Witness", facts, rows, [alarm for each in watched for alarm in each.alarms])


def publisher_text(settings: PublisherSettings, current: State | None, alarms: Sequence[str], now: int) -> str:
    """The side of the host that is watched."""
    facts: Facts = []
    for each in settings.witnesses:
        facts += [("증인 / witness", each.name), (_APART, _SEPARATE[each.same_controller])]
    rows = [_HANDED_IN, *(_handed_in(each, now) for each in (current.entries if current else ()))]
    return _text("기록 발행 상태 / Publisher", facts or [("증인 / witness", f"{_NONE}: {_NOBODY}")], rows, alarms)


def _watched(each: Watched, now: int) -> tuple[str, ...]:
    name = watch.short(each.log.name)
    if each.seen is None:
        return name, "-", _NONE, "-"
    body = each.seen.body
    return name, str(body.size), _time(body.time), _age(now - body.time)


def _handed_in(each: Entry, now: int) -> tuple[str, ...]:
    name, age = each.witness.partition("+")[0], _age(now - each.time) if each.time else "-"
    return each.ledger, name, str(each.size), _time(each.time) or _NONE, age, each.trouble or _NONE


def _text(heading: str, facts: Facts, rows: Sequence[Sequence[str]], alarms: Sequence[str]) -> str:
    lines = [heading, *(f"{name}: {text}" for name, text in facts), "", table(rows)]
    return "\n".join([*lines, "이상 / alarms:", *(f"  {each}" for each in alarms or [_NONE])]) + "\n"


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, KOREA):%Y-%m-%d %H:%M:%S%z}" if seconds else ""


def _age(seconds: int) -> str:
    return f"{seconds} s" if seconds < 600 else f"{seconds // 60} min"
