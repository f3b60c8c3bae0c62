"""The campaign: one kill after another, and after each the proof that nothing was lost.

A kill falls in its named phase. Then what died is started again, and compared is what can have changed: every reader's
reads, what the writers wrote since the last kill and a sample of everything else, the slots in every place. At the end
of a round, when its reseal has ended and the replaced keys are destroyed, every row is counted, opened and compared,
and nothing opens that was kept as it was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from keys_kill.audit import Audit
from keys_kill.moment import urgent, wait_until
from keys_kill.plan import DESTROY, OPEN, OPERATIONS, PHASES, RUNNING, Kill, operation, plan, shares
from keys_kill.program import Mark, Program
from keys_kill.report import Outcome, Report
from keys_kill.rig import Rig

WAIT_S = 120.0
UNDISTURBED = {"reseal": 1, "roll": 3, "destroy": 1}  # runs, in this order
RUNS = 8  # how often an operation may have to be resumed after one kill
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
        self._audit = Audit(rig, self.report)
        self._begun = {"reseal": False, "roll": False, "destroy": False}  # and not brought to its end yet

    def run(self, count: int) -> Report:
        """`count` kills, and a few more for phases that were missed.

        Raises:
            Broken: a promise was broken.
        """
        self._measure()
        kills = plan(self.report.seed, count, self._phases)
        while kills:
            for kill, following in zip(kills, [*kills[1:], None], strict=True):
                self._kill(kill, following)
            kills = self._missed(count)
        return self.report

    def _kill(self, kill: Kill, following: Kill | None) -> None:
        outcome = self._one(kill, following)
        self.report.outcomes.append(outcome)
        self._say(
            f"kill {kill.number} seed={self.report.seed} round={kill.round} phase={kill.phase} target={kill.target} "
            f"delay={outcome.delay_ms} ms hit={outcome.hit} at={outcome.at or '-'} beside={outcome.beside or '-'} "
            f"runs={outcome.runs} {outcome.seconds} s"
        )
        if not outcome.hit or outcome.at != kill.phase:
            self._came_late(kill)
        last = following is None or following.round != kill.round
        if last:
            self._end_all()
        self._verify(kill, full=last)

    def _missed(self, count: int) -> list[Kill]:
        """A round of kills for phases that have fewer than their share."""
        done, found = len(self.report.outcomes), self.report.in_phase
        lacking = {phase for phase, wanted in shares(count, self._phases).items() if found[phase] < wanted}
        phases = [phase for phase in self._phases if phase in lacking]
        first: dict[str, Kill] = {}
        for kill in plan(self.report.seed + done, 2 * len(phases), phases):
            first.setdefault(kill.phase, kill)
        some = list(first.values())[: max(0, int(count * (1 + SPARE)) - done)]
        return [replace(kill, number=done + number, round=done) for number, kill in enumerate(some, 1)]

    def _came_late(self, kill: Kill) -> None:
        """The computer has become quicker since the phase was measured."""
        if kill.operation == "roll":  # it takes a moment, and begins at the beginning
            self._shortest(self._undisturbed("roll"))
        else:
            self._shortest({kill.phase: self.report.usual_ms[kill.phase] / 2000})

    def _shortest(self, lengths: dict[str, float]) -> None:
        for phase, seconds in lengths.items():
            self.report.usual_ms[phase] = min(round(1000 * seconds, 2), self.report.usual_ms.get(phase, 1e9))

    def _measure(self) -> None:
        """Undisturbed runs of each operation: how long its phases last."""
        wanted = set(map(operation, self._phases))
        wanted |= {"reseal"} if "destroy" in wanted else set()  # which makes the keys that are destroyed
        for name, times in UNDISTURBED.items():
            for _ in range(times if name in wanted else 0):
                self._shortest(self._undisturbed(name))
        missing = set(self._phases) - set(self.report.usual_ms)
        if missing:
            raise Broken(f"phases never seen: {', '.join(sorted(missing))}; seen {self.report.usual_ms}")
        self._say(f"undisturbed lengths in ms: {self.report.usual_ms}")

    def _undisturbed(self, name: str) -> dict[str, float]:
        watched = self._watched(name)
        since = len(watched.marks) if watched is self._rig.keyd else 0
        self._start(name)
        self._complete(name, runs=1)
        marks = [*watched.marks[since:], Mark("end", time.monotonic())]
        lengths: dict[str, float] = {}
        for one, following in pairwise(marks):
            if one.phase in OPERATIONS[name]:
                lengths.setdefault(one.phase, following.at - one.at)
        return lengths

    def _watched(self, name: str) -> Program:
        """Who says which phase the operation is in."""
        return self._rig.keyd if name == "roll" else self._rig.workers[name]

    def _one(self, kill: Kill, following: Kill | None) -> Outcome:
        rig, begun = self._rig, time.monotonic()
        beside = self._arrange(kill)
        worker, watched = rig.workers[kill.operation], self._watched(kill.operation)
        delay = kill.part * self.report.usual_ms[kill.phase] / 1000
        since = len(rig.keyd.marks) if watched is rig.keyd else 0
        if not worker.alive:
            self._start(kill.operation)
        with urgent():
            mark = watched.wait_phase(kill.phase, WAIT_S, since)
            if mark:
                wait_until(mark.at + delay)
            running = worker.alive
            before = watched.marks[-1].phase if watched.marks[since:] else ""
            struck = rig.strike(kill.target, worker)
        # What was killed has said its last word: that is exact. Of the others we know what they said before.
        after = watched.marks[-1].phase if struck and not watched.alive and watched.marks[since:] else before
        if worker.alive and _waits(kill, following):
            worker.kill()
        rig.mend()
        runs = 0 if _goes_on(kill, following) else self._complete(kill.operation)
        hit = bool(mark) and running and struck
        return Outcome(kill, round(1000 * delay, 1), hit, after, beside, runs, round(time.monotonic() - begun, 2))

    def _arrange(self, kill: Kill) -> str:
        """What there is of a reseal beside a roll, and replaced keys to be destroyed. Returns what there is."""
        reseal = self._rig.workers["reseal"]
        if self._begun["reseal"] and reseal.finished:
            self._complete("reseal")
        if kill.operation == "destroy" and self._audit.destroyed:
            self._start("reseal")
        if kill.operation == "reseal" or not self._begun["reseal"]:
            return ""
        if kill.operation == "roll" and kill.beside == OPEN:
            if reseal.alive:
                reseal.kill()
            return OPEN
        if kill.operation == "roll" and kill.beside == RUNNING:
            if not reseal.alive:
                self._start("reseal")
                reseal.wait_line("phase=", WAIT_S)
            return RUNNING if reseal.alive else ""
        self._complete("reseal")
        return ""

    def _start(self, name: str) -> None:
        self._audit.remember_slots()
        self._begun[name] = True
        self._rig.workers[name].start()

    def _complete(self, name: str, runs: int = RUNS) -> int:
        """Start again what died and resume until the operation has completed; returns how many runs that took."""
        worker = self._rig.workers[name]
        for run in range(1, runs + 1):
            if not worker.alive and run > 1:
                self._start(name)
            if worker.wait(WAIT_S) == 0:
                self._begun[name] = False
                self._audit.completed(name)
                return run
            self._rig.mend()
        raise Broken(f"{name}: not completed after {runs} runs; the last said:\n{worker.tail()}")

    def _end_all(self) -> None:
        """Nothing is at work or lies cut off, and the keys that the round's reseal replaced are destroyed."""
        for name, begun in self._begun.items():
            if begun:
                self._complete(name)
        if set(DESTROY) & set(self._phases) and not self._audit.destroyed:
            self._start("destroy")
            self._complete("destroy")

    def _verify(self, kill: Kill, *, full: bool) -> None:
        wrong = self._audit.full() if full else self._audit.quick(rolling=self._begun["destroy"])
        if wrong:
            shown = "\n".join(wrong[:20])
            raise Broken(f"seed {self.report.seed}, {kill}: {len(wrong)} broken promises:\n{shown}")


def _goes_on(kill: Kill, following: Kill | None) -> bool:
    """Whether the operation is killed once more, or a roll beside it, before it is brought to its end."""
    if following is None or following.round != kill.round:
        return False
    besides = kill.operation == "reseal" and following.beside in {OPEN, RUNNING}
    return besides or (kill.operation == following.operation != "roll")


def _waits(kill: Kill, following: Kill | None) -> bool:
    """Whether a worker that outlived the kill dies too, or the next kill would come too late for its phase."""
    if not _goes_on(kill, following) or following is None:
        return False
    long = kill.phase != following.phase and following.phase == "reseal"
    return not long and following.beside != RUNNING
