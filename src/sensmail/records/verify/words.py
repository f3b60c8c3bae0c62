"""What each finding means, in Korean and English. `{…time}` stands for a moment in Korea."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sensmail.records.verify.result import Fact, Finding

#: Korea has no daylight saving; a computer without a table of time zones knows it, too.
KOREA = timezone(timedelta(hours=9), "KST")

FINDINGS: dict[str, tuple[str, str]] = {
    "chain": (
        "체크포인트 서명이 이어지지 않습니다: {number}번째까지 유효(크기 {size}, {time}). 그 뒤는 아무것도 "
        "증명하지 못합니다",
        "the chain of checkpoints breaks: {number} hold, the last at size {size}, {time}; what follows proves nothing",
    ),
    "cosignature": (
        "증인 {witness}의 연서가 맞지 않습니다: 크기 {size}, {time}의 체크포인트",
        "a cosignature of {witness} does not hold, on the checkpoint at size {size}, {time}",
    ),
    "changed": (
        "기록 {first}–{last}번(파티션 {part}, {since_time} ~ {time} 봉인) 가운데 적어도 하나가 봉인된 것과 다릅니다",
        "records {first} to {last} (partition {part}, sealed from {since_time} to {time}): at least one is not "
        "what was sealed",
    ),
    "gone": (
        "기록 {first}–{last}번이 없습니다(파티션 {part})",
        "records {first} to {last} are gone (partition {part})",
    ),
    "again": (
        "기록 {number}번이 두 번 있거나 순서가 바뀌었거나 다른 파티션에 있습니다(파티션 {part})",
        "record {number} stands a second time, out of order, or in the wrong partition ({part})",
    ),
    "misplaced": (
        "기록 {number}번이 다른 파티션({part})이나 다른 대장에 있습니다",
        "record {number} lies in the wrong partition ({part}) or ledger",
    ),
    "malformed": (
        "기록 {number}번(파티션 {part})을 읽을 수 없습니다",
        "record {number} (partition {part}) cannot be read",
    ),
    "uncovered": (
        "기록 {first}번부터는 유효한 체크포인트가 없습니다: 끼워 넣은 것이거나 서명이 끊긴 뒤의 것입니다",
        "records from {first} on are covered by no checkpoint that holds: put in, or after the break of the chain",
    ),
    "fork": (
        "크기 {size}, {time}의 체크포인트가 다른 내용에 서명되어 있습니다: 그 앞의 기록이 다시 쓰였습니다",
        "a checkpoint at size {size}, {time}, was signed over other records: those before it were rewritten",
    ),
    "behind": (
        "기록 {first}–{last}번이 없습니다: {time}에 서명된 체크포인트가 그만큼을 담고 있었습니다. 더 오래된 "
        "상태로 되돌려졌습니다",
        "records {first} to {last} are missing: a checkpoint of {time} had them. The host was put back to an "
        "older state",
    ),
    "link": (
        "삭제 지점 {cut} 이전의 체크포인트(크기 {size}, {time})가 남은 기록과 이어지지 않습니다",
        "the checkpoint at size {size}, {time}, from before the cut at {cut}, is not linked to what remains",
    ),
    "cut": (
        "{time}의 삭제 지점 {size}을(를) 확인할 수 없습니다",
        "the cut at {size} of {time} cannot be verified",
    ),
    "cut_early": (
        "{time}에 {size}번 앞의 기록이 삭제되었으나 보관기간이 남아 있었습니다: 마지막 봉인 {sealed_time}, 보관 "
        "{days}일",
        "records below {size} were deleted on {time}, too early: the last was sealed {sealed_time}, to be kept "
        "{days} days",
    ),
    "cut_untrue": (
        "삭제 지점 {size}의 기록이 말하는 봉인 시각 {sealed_time}이(가) 체크포인트({after_time} ~ {time})와 맞지 "
        "않습니다",
        "the record of the cut at {size} says sealed {sealed_time}; checkpoints say from {after_time} to {time}",
    ),
    "cut_unrecorded": (
        "{time}의 삭제(크기 {size})가 관리대장에 없습니다",
        "the deletion below {size} of {time} has no record in the governance ledger",
    ),
    "cut_unrecorded_here": (
        "{time}의 삭제(크기 {size})를 관리대장과 견줄 수 없습니다: 이 묶음에 관리대장이 없습니다",
        "the deletion below {size} of {time} cannot be compared: the bundle has no governance ledger",
    ),
    "held": (
        "보존 조치된 기록 {number}번이 증명되지 않습니다",
        "held record {number} is not proven",
    ),
    "ahead": (
        "증인이 보여 준 체크포인트를 읽을 수 없습니다",
        "a checkpoint that was kept elsewhere is not one of this log",
    ),
    "checkpoint_before_cut": (
        "가져온 체크포인트(크기 {size}, {time})는 삭제 지점보다 앞서 견줄 수 없습니다",
        "the checkpoint that you brought (size {size}, {time}) is from before the cut and was not kept: not compared",
    ),
    "checkpoint_of_no_log": (
        "가져온 체크포인트의 로그가 이 묶음에 없습니다: {origin}",
        "no log of the bundle is that of your checkpoint: {origin}",
    ),
    "empty": ("이 묶음에는 대장이 하나도 없습니다", "the bundle holds no log at all"),
    "log_name": (
        "로그 이름이 대장과 맞지 않습니다: {origin}",
        "the log's name is of another ledger: {origin}",
    ),
    "log_missing": (
        "주신 키의 로그가 이 묶음에 없습니다: {origin}+{id}. 그 자리의 로그는 다른 키로 만들어졌습니다",
        "the log of your key is not in the bundle: {origin}+{id}. What stands in its place was made with another key",
    ),
    "key_not_given": (
        "검증키를 주지 않아 묶음에 있는 키로만 확인했습니다: 묶음을 만든 사람을 믿어야 합니다",
        "you gave no key of this log; it was compared with the bundle's own, which proves nothing against its maker",
    ),
    "stopped": (
        "봉인이 {time}에 멈췄습니다. {made_time}까지의 기록은 봉인되지 않았습니다",
        "sealing had stopped at {time}; what came until {made_time} is not in the log",
    ),
    "not_witnessed": (
        "주신 증인 키의 유효한 연서가 없습니다",
        "no cosignature of your witness keys holds",
    ),
    "witness_silent": (
        "증인의 연서가 {time} 이후로 없습니다(묶음은 {made_time})",
        "the witness has cosigned nothing since {time} (the bundle is of {made_time})",
    ),
    "export_unsealed": (
        "이 내보내기의 기록이 제때 봉인되지 않았습니다",
        "the record of this export was not sealed in time",
    ),
    "export_missing": (
        "이 내보내기의 기록(관리대장 {number}번)이 없습니다",
        "the record of this export (governance {number}) is not there",
    ),
    "generation": (
        "{time}에 제{generation}세대가 열렸습니다: 복구로 기록 {lost}건을 잃었습니다(마지막으로 알려진 크기 "
        "{size}). 사유: {reason} / 승인: {approver}",
        "generation {generation} was opened on {time}: a restore lost {lost} records (last known size {size}). "
        "Reason: {reason}; approved by {approver}",
    ),
    "generation_unexplained": (
        "새 세대의 첫 기록이 앞 세대를 밝히지 않습니다",
        "the first record of this generation does not cite the one before",
    ),
    "generation_differs": (
        "앞 세대의 크기는 {stated}이고 잃은 기록은 {lost}건이라 하나 마지막으로 알려진 크기는 {size}입니다",
        "the generation before ends at {stated} and {lost} are said to be lost, but its last known size is {size}",
    ),
}  # fmt: skip


def moment(seconds: Fact) -> str:
    """Date, time and offset in Korea."""
    try:
        return f"{datetime.fromtimestamp(int(seconds), KOREA):%Y-%m-%d %H:%M:%S+09:00}" if seconds else "—"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"


def sentences(finding: Finding) -> tuple[str, str]:
    """In Korean, in English; what a program said about it stands in both."""
    facts = {
        name: moment(each) if name.endswith("time") else harmless(str(each)) for name, each in finding.facts.items()
    }
    added = f" ({facts['what']})" if "what" in facts else ""
    korean, english = FINDINGS[finding.code]
    return korean.format(**facts) + added, english.format(**facts) + added


def harmless(text: str) -> str:
    """What a terminal would obey is shown instead."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
