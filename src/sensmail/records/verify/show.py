"""The result for people, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sensmail.records.verify.result import LogResult, Result
from sensmail.records.verify.words import harmless, moment, sentences

LEDGERS = {"access": "접속기록 access log", "governance": "관리대장 governance ledger"}
VERIFIED, WRONG, UNREADABLE, DOUBTED = 0, 1, 2, 3


def code(result: Result) -> int:
    """The exit code: all verified; something is wrong or missing; (the file cannot be read;) not all is proven."""
    found = result.all()
    if any(each.wrong for each in found):
        return WRONG
    return DOUBTED if found else VERIFIED


def text(result: Result) -> str:
    """A paragraph a log, then the verdict."""
    lines: list[str] = []
    for log in result.logs:
        lines += [*_log(log, result), *_findings(log.findings), ""]
    lines += _findings(result.findings)
    lines.append(_VERDICTS[code(result)])
    return "\n".join(lines) + "\n"


def document(result: Result) -> dict[str, Any]:
    """For programs: every figure, every finding with its code, its facts and both sentences."""

    def findings(of: Any) -> list[dict[str, Any]]:
        made = []
        for each in of:
            korean, english = sentences(each)
            made.append({"code": each.code, "wrong": each.wrong, "facts": each.facts, "ko": korean, "en": english})
        return made

    logs = []
    for each in result.logs:
        fields = {name: value for name, value in asdict(each).items() if name not in {"acts", "findings"}}
        logs.append(fields | {"findings": findings(each.findings)})
    exit_code = code(result)
    return {
        "verdict": {VERIFIED: "verified", WRONG: "wrong", DOUBTED: "not proven"}[exit_code], "exit": exit_code,
        "made": result.made, "witnesses": list(result.witnesses), "logs": logs, "findings": findings(result.findings),
    }  # fmt: skip


_VERDICTS = {
    VERIFIED: "확인됨: 위의 모든 기록은 서명된 그대로입니다.\nVERIFIED: every record above is as it was signed.",
    WRONG: "이상 있음: 위의 ✗ 항목을 조사하십시오.\nWRONG: look into every line that is marked ✗.",
    DOUBTED: "이상은 없으나 ! 항목은 증명되지 않았습니다.\n"
    "NOT ALL PROVEN: nothing is wrong, but lines marked ! are not proven.",
}


def _log(log: LogResult, result: Result) -> list[str]:
    count = log.verified - log.first
    span = f" ({log.first} … {log.verified - 1})" if count else ""
    lines = [
        f"■ {LEDGERS[log.ledger]}, generation {log.generation}",
        f"  로그 log            {harmless(log.origin)}",
        f"  확인한 기록 records  {count:,}{span}",
        f"  체크포인트 signed    {log.checkpoints:,} checkpoints, {log.keys:,} keys in the chain; {moment(log.signed)}",
    ]
    lines += [f"  연서 cosigned       {harmless(name)}: {many:,}" for name, many in log.cosignatures.items()]
    if log.complete is not None:
        lines.append(f"  완전성 complete as of {moment(log.complete)} (증인의 연서 by the witness)")
    else:
        why = "연서 없음 no cosignature" if result.witnesses else "로그 스스로의 말 the log's own word"
        lines.append(f"  완전성 complete as of {moment(log.signed)} ({why})")
    for cut in log.cuts:
        kept = f", sealed until {moment(cut.sealed)}, kept {cut.days} days" if cut.sealed is not None else ""
        lines.append(f"  삭제 deleted        below {cut.size:,} on {moment(cut.made)}{kept}")
    if log.held:
        lines.append(f"  보존 held           {log.held:,} records under a legal hold")
    return lines


def _findings(findings: Any) -> list[str]:
    lines = []
    for each in findings:
        korean, english = sentences(each)
        lines += [f"  {'✗' if each.wrong else '!'} {korean}", f"    {english}"]
    return lines
