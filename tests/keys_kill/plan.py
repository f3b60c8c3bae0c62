"""Which kill falls when: seeded, in rounds, so that every phase gets its share and one reseal is killed many times.

A round is one reseal from its beginning to its end, and the destruction of the keys that it replaced. It is killed in
each of its phases; rolls are killed before it, while it lies there cut off, while it is at work, and after it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

RESEAL = ("replace", "reseal", "census", "retire")
ROLL = ("prepare", "publish", "acknowledge", "bury", "record")
DESTROY = ("destroy", "forget")  # the replaced keys leave the key file; the roll after which no place holds them
PHASES = (*RESEAL, *ROLL, *DESTROY)
OPERATIONS = {"reseal": RESEAL, "roll": ROLL, "destroy": DESTROY}
ALONE, OPEN, RUNNING = "alone", "open", "running"  # a roll beside no reseal, one that was cut off, one at work

# Kills of a phase in a round.
_TIMES = {**dict.fromkeys((*RESEAL, *ROLL), 2), **dict.fromkeys(DESTROY, 1)}
# A phase that goes on where it was has to last for so many visits: two kills, and of the pass also a roll beside it.
# What is retired already takes no time, and a roll ends early where the computer has become quicker.
_VISITS = {"replace": 2, "reseal": 3, "retire": 4, "forget": 2}
# Who dies how often: the program whose phase it is most of the time, then what it leans on.
_TARGETS = {
    "reseal": {"worker": 5, "keyd": 3, "backend": 2, "database": 1},
    "roll": {"keyd": 7, "worker": 1, "backend": 1, "database": 1},
    "destroy": {"keyd": 3, "worker": 2, "backend": 1, "database": 1},
}


@dataclass(frozen=True)
class Kill:
    """One planned kill.

    Attributes:
        number: counts from 1.
        phase: of PHASES, in which it falls.
        target: worker, keyd, backend (one session's server process) or database (all of it).
        part: how much of the phase, by its usual length, passes first: 0 to 1.
        beside: of a roll, what there is of a reseal meanwhile.
        round: counts from 1.
    """

    number: int
    phase: str
    target: str
    part: float
    beside: str = ALONE
    round: int = 1

    @property
    def operation(self) -> str:
        """What runs: reseal, roll or destroy."""
        return operation(self.phase)


def operation(phase: str) -> str:
    """What a phase belongs to."""
    return next(name for name, phases in OPERATIONS.items() if phase in phases)


def shares(count: int, phases: Sequence[str] = PHASES) -> dict[str, int]:
    """How many of `count` kills are to fall in each phase."""
    whole = sum(_TIMES[phase] for phase in phases)
    return {phase: count * _TIMES[phase] // whole for phase in phases}


def plan(seed: int, count: int, phases: Sequence[str] = PHASES) -> list[Kill]:
    """The kills of a seed: the same seed gives the same plan."""
    source = random.Random(seed)
    kills: list[Kill] = []
    decks = {name: _deck(source, weights) for name, weights in _TARGETS.items()}
    number = 0
    while len(kills) < count:
        number += 1
        for phase, beside in _round(source, phases)[: count - len(kills)]:
            target = next(decks[operation(phase)])
            part = source.random() / _VISITS.get(phase, 1)
            kills.append(Kill(len(kills) + 1, phase, target, round(part, 3), beside, number))
    return kills


def _round(source: random.Random, phases: Sequence[str]) -> list[tuple[str, str]]:
    """Phases in the order of a round, each with what a roll is beside."""
    reseals, rolls, ends = (
        [phase for phase in several if phase in phases for _ in range(_TIMES[phase])] for several in OPERATIONS.values()
    )
    source.shuffle(rolls)
    kills = [(phase, ALONE) for phase in reseals]
    quarter = len(rolls) // 4 if reseals else 0
    places = [(1 + source.randrange(len(reseals)), OPEN) for _ in range(quarter)] if reseals else []
    if "reseal" in reseals and len(rolls) > quarter:
        places.append((1 + reseals.index("reseal"), RUNNING))
    places += [(len(reseals), RUNNING)] * quarter
    for at, beside in sorted(places, reverse=True):  # from behind, so that earlier places stay what they are
        kills.insert(at, (rolls.pop(), beside))
    before = len(rolls) // 2
    alone = [(phase, ALONE) for phase in rolls]
    return [*alone[:before], *kills, *alone[before:], *((phase, ALONE) for phase in ends)]


def _deck(source: random.Random, weights: dict[str, int]) -> cycle[str]:
    cards = [target for target, weight in weights.items() for _ in range(weight)]
    return cycle(source.sample(cards, len(cards)))
