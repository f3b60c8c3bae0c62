"""Which kill falls when: seeded, every phase in turn, so that a number of kills is spread evenly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

RESEAL = ("replace", "reseal", "census", "retire")
ROLL = ("prepare", "publish", "acknowledge", "bury", "record")
PHASES = (*RESEAL, *ROLL)

# Who dies how often: the program whose phase it is most of the time, then what it leans on.
_TARGETS = {
    "reseal": {"worker": 5, "keyd": 3, "backend": 2, "database": 1},
    "roll": {"keyd": 7, "worker": 1, "backend": 1, "database": 1},
}


@dataclass(frozen=True)
class Kill:
    """One planned kill.

    Attributes:
        number: counts from 1.
        phase: of PHASES, in which it falls.
        target: worker, keyd, backend (one session's server process) or database (all of it).
        part: how much of the phase, by its usual length, passes first: 0 to 1.
    """

    number: int
    phase: str
    target: str
    part: float

    @property
    def operation(self) -> str:
        """What runs: reseal or roll."""
        return operation(self.phase)


def operation(phase: str) -> str:
    """What a phase belongs to: reseal or roll."""
    return "reseal" if phase in RESEAL else "roll"


def plan(seed: int, count: int, phases: Sequence[str] = PHASES) -> list[Kill]:
    """The kills of a seed: the same seed gives the same plan. A phase comes again only when every one has come.

    Phases of a reseal come in its own order, so that one job may be killed in several.
    """
    source = random.Random(seed)
    kills: list[Kill] = []
    decks = {name: _deck(source, weights) for name, weights in _TARGETS.items()}
    while len(kills) < count:
        jobs = [phase for phase in RESEAL if phase in phases]
        rolls = [phase for phase in ROLL if phase in phases]
        for phase in [*jobs, *source.sample(rolls, len(rolls))][: count - len(kills)]:
            target = next(decks[operation(phase)])
            kills.append(Kill(len(kills) + 1, phase, target, round(source.random(), 3)))
    return kills


def _deck(source: random.Random, weights: dict[str, int]) -> cycle[str]:
    cards = [target for target, weight in weights.items() for _ in range(weight)]
    return cycle(source.sample(cards, len(cards)))
