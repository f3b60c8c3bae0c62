"""How `sensmail rights` shows register and report: Korean headings with English beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sensmail.cli.table import korean_time, spreadsheet, table
from sensmail.rights.model import Line
from sensmail.rights.reconcile import Report, Unused
from sensmail.rights.sshkeys import fingerprint

_KINDS = {
    "operator": "서버 계정 (operator)",
    "sudo": "관리자 명령 (sudo)",
    "database": "데이터베이스 (database)",
    "portal": "포털 (portal)",
}
_STATES = {
    "asked": "처리 중 (asked)", "in force": "유효 (in force)", "void": "취소 (void)", "changed": "변경됨 (changed)",
    "being revoked": "말소 중 (being revoked)", "revoked": "말소 (revoked)",
}  # fmt: skip
_WHAT = {
    "unrecorded": "기록 없는 권한 / right without a record",
    "missing": "권한 없는 기록 / record without a right",
    "differs": "기록과 다른 권한 / right that differs from its record",
    "unfinished": "끝나지 않은 처리 / act that was cut off",
    "overdue": "기한이 지난 권한 / right past its end",
    "dormant": "장기 미사용 계정 / unused account",
    "not_assessed": "점검하지 못함 / not assessed",
}
#: Heading of the register, and what stands below it.
_COLUMNS: tuple[tuple[str, Callable[[Line], object]], ...] = (
    ("번호 / number", lambda line: line.number),
    ("상태 / state", lambda line: _STATES[line.state]),
    ("종류 / kind", lambda line: _KINDS[line.kind]),
    ("대상 / scope", lambda line: line.scope),
    ("계정 / account", lambda line: line.account),
    ("보유자 / holder", lambda line: line.holder),
    ("권한 / right", lambda line: line.right),
    ("내용 / terms", lambda line: ", ".join(map(fingerprint, line.terms))),
    ("기한 / until", lambda line: korean_time(line.until)),
    ("사유 / reason", lambda line: line.reason),
    ("승인자 / approver", lambda line: " ".join(filter(None, (line.approver_role, line.approver)))),
    ("승인 문서 / reference", lambda line: line.reference),
    ("신청 / asked", lambda line: korean_time(line.asked)),
    ("부여 / granted", lambda line: korean_time(line.granted)),
    ("변경 / changed", lambda line: korean_time(line.changed)),
    ("말소 / revoked", lambda line: korean_time(line.revoked)),
    ("말소 사유 / reason of revocation", lambda line: line.revoke_reason or ""),
    ("말소 승인자 / approver of revocation", lambda line: line.revoke_approver or ""),
    ("기록 식별자 / id in the ledger", lambda line: line.id),
)
_SHORT = (0, 1, 2, 3, 4, 5, 6, 8)


def lines_text(lines: Sequence[Line]) -> str:
    """The register as a table for a terminal."""
    if not lines:
        return "접근권한이 없습니다 / no access rights\n"
    chosen = [_COLUMNS[number] for number in _SHORT]
    rows = [[heading.partition(" / ")[0] for heading, _ in chosen]]
    return table([*rows, *([str(value(line)) for _, value in chosen] for line in lines)])


def whole_text(lines: Iterable[Line]) -> str:
    """Everything that rows say, a line a column."""
    return "\n".join(table([(heading, str(value(line))) for heading, value in _COLUMNS]) for line in lines)


def lines_csv(lines: Iterable[Line]) -> str:
    """The register for a spreadsheet."""
    return spreadsheet(_COLUMNS, lines)


def report_text(report: Report) -> str:
    """Register against host."""
    lines = [
        f"접근권한 대조 / access rights of {report.host}, {korean_time(report.at)} KST",
        f"기록 {report.recorded}건, 확인 {report.found}건 / {report.recorded} recorded, {report.found} found",
        *(
            f"선언 / declared: {each.kind} {each.account} ({each.reason})"
            for each in report.declared
        ),
    ]  # fmt: skip
    for each in report.findings:
        lines += ["", f"[{_WHAT[each.what]}] {each.right or ''}".rstrip(), f"  확인 / found: {each.found}"]
        lines += [f"  조치 / fix: {each.fix}"]
    count = len(report.findings)
    verdict = f"지적 {count}건 / {count} findings" if count else "이상 없음 / clean"
    return "\n".join([*lines, "", verdict]) + "\n"


def report_json(report: Report) -> str:
    """The same for programs: moments in ISO 8601, UTC."""
    data = {
        "host": report.host,
        "at": report.at.isoformat(),
        "clean": report.clean,
        "recorded": report.recorded,
        "found": report.found,
        "declared": [asdict(each) | {"terms": sorted(each.terms)} for each in report.declared],
        "findings": [
            asdict(each) | {"right": asdict(each.right) if each.right else None, "heading": _WHAT[each.what]}
            for each in report.findings
        ],
        "login_sources": report.login_sources,
    }
    return _json(data)


def dormant_text(report: Report) -> str:
    """Operator accounts, and when each was used last."""
    heads = ("계정 / account", "보유자 / holder", "마지막 접속 / last login", "부여 / granted", "")
    rows = [heads, *(_unused(each) for each in report.unused)]
    source = ", ".join(report.login_sources) or "없음 / none"
    return table(rows) + f"접속 자료 / logins by: {source}\n"


def dormant_json(report: Report) -> str:
    """The same for programs."""
    accounts = [
        {
            "account": each.line.account,
            "last_login": each.last_login.isoformat() if each.last_login else None,
            "granted": each.line.granted.isoformat() if each.line.granted else None,
            "dormant": each.dormant,
        }
        for each in report.unused
    ]
    return _json({"host": report.host, "accounts": accounts, "login_sources": report.login_sources})


def _unused(each: Unused) -> tuple[str, ...]:
    last = korean_time(each.last_login) or "없음 / never"
    mark = "장기 미사용 / dormant" if each.dormant else ""
    return each.line.account, each.line.holder, last, korean_time(each.line.granted), mark


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
