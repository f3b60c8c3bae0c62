"""The campaign: one kill after another, and after each the proof that nothing was lost.

Before each kill the operation is started; the kill falls in its named phase. Then what died is started again, the
operation is resumed until it completes, and everything is compared: every reader's reads, every writer's truth, the
census, the slots in every place.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from keys_kill import slots
from keys_kill.plan import PHASES, RESEAL, Kill, operation, plan
from keys_kill.program import Mark, Program, urgently
from keys_kill.report import Outcome, Report
from keys_kill.rig import Rig

WAIT_S = 120.0
UNDISTURBED = 3
RUNS = 8  # how often an operation may have to be resumed after one kill
FULL_EVERY = 20  # kills between two checks that open every row
EXACT_S = 0.002
SPARE = 0.5  # kills that may be added, as a part of the plan, where one missed its phase


class Broken(AssertionError):
    """A promise was broken; the text holds seed, kill and what was found."""


class Campaign:
    """Kills on one rig."""

    def __init__(
        self, rig: Rig, seed: int, phases: Sequence[str] = PHASES, say: Callable[[str], object] = print
    ) -> None:
        self._rig, self._phases, self._say = rig, tuple(phases), say
        self.report = Report(seed)
        self._ended: list[slots.Slot] = []
        self._open: Program | None = None  # a reseal that was killed and not resumed yet

    def run(self, count: int) -> Report:
        """`count` kills, and a few more for phases that were missed.

        Raises:
            Broken: a promise was broken.
        """
        self._measure()
        for kill, following in _with_next(self._kills(count)):
            outcome = self._one(kill, following)
            self.report.outcomes.append(outcome)
            self._say(
                f"kill {kill.number} seed={self.report.seed} phase={kill.phase} target={kill.target} "
                f"delay={outcome.delay_ms} ms hit={outcome.hit} at={outcome.at or '-'} "
                f"runs={outcome.runs} {outcome.seconds} s"
            )
            self._verify(kill, full=kill.number % FULL_EVERY == 0)
        self._verify(None, full=True)
        return self.report

    def _kills(self, count: int) -> Iterator[Kill]:
        """The plan, then kills for each phase that has fewer than an even share."""
        yield from plan(self.report.seed, count, self._phases)
        number = count
        for kill in plan(self.report.seed + 1, int(count * (SPARE + 1)) * len(self._phases), self._phases):
            lacking = [phase for phase, found in self.report.in_phase.items() if found < count // len(self._phases)]
            if not lacking or number >= count * (1 + SPARE):
                return
            if kill.phase in lacking:
                number += 1
                yield Kill(number, kill.phase, kill.target, kill.part)

    def _measure(self) -> None:
        """Undisturbed runs of each operation: how short its phases may be."""
        for name in dict.fromkeys(map(operation, self._phases)):
            for _ in range(UNDISTURBED):
                for phase, seconds in self._undisturbed(name).items():
                    shortest = min(round(1000 * seconds, 2), self.report.usual_ms.get(phase, 1e9))
                    self.report.usual_ms[phase] = shortest
        missing = set(self._phases) - set(self.report.usual_ms)
        if missing:
            raise Broken(f"phases never seen: {', '.join(sorted(missing))}; seen {self.report.usual_ms}")
        self._say(f"undisturbed lengths in ms: {self.report.usual_ms}")

    def _undisturbed(self, name: str) -> dict[str, float]:
        worker = self._rig.worker(name)
        watched = self._watched(name, worker)
        since = len(watched.marks)
        worker.start()
        if worker.wait(WAIT_S):
            raise Broken(f"{name} does not complete even undisturbed:\n{worker.tail()}")
        marks = [*watched.marks[since if watched is self._rig.keyd else 0 :], Mark("end", time.monotonic())]
        lengths: dict[str, float] = {}
        for one, following in pairwise(marks):
            lengths.setdefault(one.phase, following.at - one.at)
        return lengths

    def _watched(self, name: str, worker: Program) -> Program:
        """Who says which phase the operation is in."""
        return self._rig.keyd if name == "roll" else worker

    def _one(self, kill: Kill, following: Kill | None) -> Outcome:
        rig = self._rig
        if kill.operation == "roll":
            self._ended.append(slots.live(rig.places[0]))
        worker = self._open or rig.worker(kill.operation)
        watched = self._watched(kill.operation, worker)
        since = len(rig.keyd.marks) if watched is rig.keyd else 0
        delay = kill.part * self.report.usual_ms[kill.phase] / 1000
        begun = time.monotonic()
        worker.start()
        with _urgent():
            mark = watched.wait_phase(kill.phase, WAIT_S, since)
            if mark:
                _wait_until(mark.at + delay)
            running = worker.alive
            before = watched.marks[-1].phase if watched.marks[since:] else ""
            struck = rig.strike(kill.target, worker)
        # What was killed has said its last word: that is exact. Of the others we know what they said before.
        after = watched.marks[-1].phase if struck and not watched.alive and watched.marks[since:] else before
        hit = bool(mark) and running and struck
        self._open = worker if hit and not worker.alive and _later_in_job(kill, following) else None
        rig.mend()
        runs = 0 if self._open else self._complete(kill, worker)
        return Outcome(kill, round(1000 * delay, 1), hit, after, runs, round(time.monotonic() - begun, 2))

    def _complete(self, kill: Kill, worker: Program) -> int:
        """Start again what died and resume until the operation has completed; returns how many runs that took."""
        for run in range(1, RUNS + 1):
            if not worker.alive and run > 1:
                worker.start()
            if worker.wait(WAIT_S) == 0:
                return run
            self._rig.mend()
        raise Broken(f"{kill}: not completed after {RUNS} runs; the last said:\n{worker.tail()}")

    def _verify(self, kill: Kill | None, *, full: bool) -> None:
        answers = self._rig.ask("check full" if full else "check")
        self.report.actors |= answers
        wrong = [problem for name, answer in answers.items() for problem in self._problems(name, answer)]
        for place in self._rig.places:
            if slots.live(place) != slots.live(self._rig.places[0]):
                wrong.append(f"{place}: another epoch key than in the first place")
            wrong += [f"{path}: still holds the key of an ended epoch" for path in slots.remains(place, self._ended)]
        if wrong:
            shown = "\n".join(wrong[:20])
            raise Broken(f"seed {self.report.seed}, {kill}: {len(wrong)} broken promises:\n{shown}")

    def _problems(self, name: str, answer: dict[str, Any]) -> Iterator[str]:
        """What an actor found that must not be."""
        for kind in ("failed", "lost", "missing", "refused"):
            yield from (f"{name}: {kind}: {each}" for each in answer.get(kind, []))
        if "rows" in answer:
            census = answer["census"]
            alive = {"active", "replaced"} if self._open else {"active"}
            yield from (f"{name}: {n} rows under {state} keys" for state, n in census.items() if state not in alive)
            if sum(census.values()) != answer["rows"]:
                yield f"{name}: census counts {census}, but there are {answer['rows']} rows"


def _later_in_job(kill: Kill, following: Kill | None) -> bool:
    """Whether the next kill can fall in the same reseal, resumed."""
    both = following is not None and kill.operation == following.operation == "reseal"
    return both and following is not None and RESEAL.index(following.phase) > RESEAL.index(kill.phase)


def _with_next(kills: Iterable[Kill]) -> Iterator[tuple[Kill, Kill | None]]:
    source = iter(kills)
    kill = next(source, None)
    while kill is not None:
        following = next(source, None)
        yield kill, following
        kill = following


@contextlib.contextmanager
def _urgent() -> Iterator[None]:
    thread = threading.get_native_id()
    urgently(thread, True)
    try:
        yield
    finally:  # what is started later must not inherit it
        urgently(thread, False)


def _wait_until(moment: float) -> None:
    """Exactly, where a phase lasts a millisecond: sleeping wakes up late."""
    if (left := moment - time.monotonic() - EXACT_S) > 0:
        time.sleep(left)
    while time.monotonic() < moment:
        pass
