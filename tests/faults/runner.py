"""Break a command at seeded moments, run it again until it completes, and check that nothing was lost.

One runner for every kill test. As a library: `run(plan(...), command, ...)`. By hand, for example:

    python tests/faults --seed 7 --within 60 --marks '^TASK' --machine mail -- ansible-playbook playbooks/site.yml

The same seed gives the same kinds and moments. A moment is counted from the start of its attempt, in seconds or, better
where the command tells its progress, in lines of output that match `marks`; its fraction delays it within that step.
Moments grow from attempt to attempt, because one that resumes what was done comes sooner to what was not.
An attempt that ends before its moment was not hit, and the report says so; where nothing was hit, that is an error.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from faults.kinds import KINDS
from stage import LOGS, ROOT, environment

GRACE_S = 300.0  # for the command to notice a lost machine or connection, or to end well all the same
STEP_S = 2.0  # what the fraction of a moment is a fraction of, where moments are marks
POLL_S = 0.05
Invariant = Callable[[], None]


class FaultError(Exception):
    """The command did not survive its faults; the text holds the seed and the attempts."""


@dataclass(frozen=True)
class Fault:
    """One planned fault: what breaks, and after how many seconds or marks of its attempt."""

    kind: str
    after: float


@dataclass(frozen=True)
class Attempt:
    """What happened in one run of the command; `returncode` is negative where a signal ended it."""

    fault: Fault | None
    hit: bool
    returncode: int
    seconds: float


@dataclass
class Report:
    """The whole story, for a log or an assertion."""

    seed: int
    command: Sequence[str]
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def hits(self) -> int:
        """How many faults struck while the command ran."""
        return sum(attempt.hit for attempt in self.attempts)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps({**asdict(self), "hits": self.hits})


def plan(seed: int, within: float, count: int = 3, kinds: Sequence[str] = tuple(KINDS)) -> list[Fault]:
    """The faults of a seed.

    Args:
        seed: any integer; the same seed gives the same plan.
        within: seconds or marks of an attempt in which a fault may fall.
        count: how many attempts are broken.
        kinds: of `kinds.KINDS`; each is used once before any is used twice.
    """
    source = random.Random(seed)
    order: list[str] = []
    while len(order) < count:
        order += source.sample(list(kinds), len(kinds))
    moments = sorted(round(source.uniform(0, within), 2) for _ in range(count))
    return [Fault(kind, moment) for kind, moment in zip(order, moments, strict=False)]


def run(
    faults: Sequence[Fault],
    command: Sequence[str],
    *,
    seed: int,
    machine: str | None = None,
    marks: str | None = None,
    invariant: Invariant | None = None,
    name: str = "faults",
    tries: int = 1,
) -> Report:
    """Run `command` once for each fault and then to completion.

    Args:
        faults: from `plan`.
        command: safe to repeat; it is run in the checkout.
        seed: for the report.
        machine: the machine that a reboot or cut strikes.
        marks: regular expression of an output line that tells progress; without it, moments are in seconds.
        invariant: raises what it finds; asked after every attempt, broken or whole.
        name: of the logs, `build/logs/<name>-<number>.log`.
        tries: how many whole runs may be needed; more than 1 must have a reason.

    Raises:
        FaultError: no fault struck, the command does not complete, or the invariant does not hold.
    """
    report = Report(seed, list(command))
    for number, fault in enumerate([*faults, *([None] * tries)], 1):
        log = LOGS / f"{name}-{number}.log"
        attempt = _attempt(command, fault, machine, log, marks)
        report.attempts.append(attempt)
        print(f"{name}: attempt {number}: {json.dumps(asdict(attempt))}", file=sys.__stderr__, flush=True)
        if attempt.hit and fault:
            KINDS[fault.kind].mend(machine)
        _ask(invariant, report)
        if fault is None and attempt.returncode == 0:
            break
    if report.attempts[-1].returncode:
        raise FaultError(f"not completed; see {LOGS}/{name}-*.log: {report.to_json()}")
    if faults and not report.hits:
        raise FaultError(
            f"no fault struck: every moment fell after the command's end; lower `within`: {report.to_json()}"
        )
    return report


def _ask(invariant: Invariant | None, report: Report) -> None:
    try:
        if invariant:
            invariant()
    except Exception as error:
        raise FaultError(f"invariant broken: {error}\n{report.to_json()}") from error


def _attempt(command: Sequence[str], fault: Fault | None, machine: str | None, log: Path, marks: str | None) -> Attempt:
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own process group, so that a kill takes the children along
        )
        try:
            hit = fault is not None and _strike(process, fault, machine, _clock(log, marks))
            returncode = process.wait()
        finally:
            _kill_group(process)
    return Attempt(fault, hit, returncode, round(time.monotonic() - start, 2))


def _clock(log: Path, marks: str | None) -> Callable[[], float]:
    """How far an attempt has come: seconds from now, or marks in its log plus the time since the last of them."""
    start = time.monotonic()
    if marks is None:
        return lambda: time.monotonic() - start
    pattern = re.compile(marks.encode(), re.MULTILINE)
    seen, since = 0, start

    def progress() -> float:
        nonlocal seen, since
        found = len(pattern.findall(log.read_bytes()))
        if found != seen:
            seen, since = found, time.monotonic()
        return seen + min(0.99, (time.monotonic() - since) / STEP_S)

    return progress


def _strike(process: subprocess.Popen[bytes], fault: Fault, machine: str | None, clock: Callable[[], float]) -> bool:
    """Wait for the moment and break; false where the command was quicker."""
    while clock() < fault.after:
        try:
            process.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            continue
        return False
    KINDS[fault.kind].strike(process.pid, machine)
    try:
        process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        _kill_group(process)
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
