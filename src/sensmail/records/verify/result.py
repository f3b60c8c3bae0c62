"""What verification found: findings by code, in `words` for people; figures of each log."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensmail.records.checkpoint import Checkpoint
from sensmail.records.entry import Entry, Ledger

MOST = 100  # findings of a log; more of them tell nothing more
#: Findings that say that something is not proven; every other one says that something is wrong or missing.
DOUBTS = frozenset({"key_not_given", "generation", "export_unsealed", "cut_unrecorded_here", "checkpoint_before_cut"})

Fact = str | int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, missing or not proven. `facts`: times are seconds since 1970, under `…time`."""

    code: str
    facts: dict[str, Fact] = field(default_factory=dict)

    @property
    def wrong(self) -> bool:
        return self.code not in DOUBTS


@dataclass(frozen=True)
class Point:
    """A size and a root that somebody signed. `known`: kept by an auditor or shown by a witness, not by the log."""

    body: Checkpoint
    known: bool = False


@dataclass(frozen=True)
class CutSeen:
    """Where records were deleted; times in seconds.

    Attributes:
        after, before: between these times the last deleted record was sealed, as checkpoints say.
        sealed, days: when it was, and how long it had to be kept, as the record of the prune says.
    """

    size: int
    range: str
    made: int
    after: int
    before: int
    sealed: int | None = None
    days: int | None = None


@dataclass
class LogResult:
    """One log.

    Attributes:
        key_given: whether the verifier holds its key, or the bundle alone says so.
        first, verified: records from `first` to `verified` - 1 are as they were signed.
        stated: how many there should be, as the newest checkpoint that holds says.
        checkpoints, keys: how many hold. signed: time of the newest.
        cosignatures: how many of each witness hold. complete: time of the newest; None without one.
        acts: records about the records themselves.
    """

    ledger: Ledger
    generation: int
    origin: str
    key_given: bool = False
    first: int = 0
    verified: int = 0
    stated: int = 0
    checkpoints: int = 0
    keys: int = 0
    signed: int = 0
    cosignatures: dict[str, int] = field(default_factory=dict)
    complete: int | None = None
    cuts: list[CutSeen] = field(default_factory=list)
    held: int = 0
    findings: list[Finding] = field(default_factory=list)
    acts: list[Entry] = field(default_factory=list)

    def find(self, code: str, **facts: Fact) -> None:
        if len(self.findings) < MOST:
            self.findings.append(Finding(code, facts))


@dataclass
class Result:
    """A whole bundle. `made`: when it says it was made, seconds. `findings`: of no single log."""

    made: int
    witnesses: tuple[str, ...]
    logs: list[LogResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def all(self) -> list[Finding]:
        return [*self.findings, *(each for log in self.logs for each in log.findings)]
