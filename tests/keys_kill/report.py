"""What a campaign of kills met, kill by kill and in sum."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from keys_kill.plan import Kill


@dataclass(frozen=True)
class Outcome:
    """What one kill met: `hit` when the operation was running, `at` is the phase that it was in.

    Attributes:
        beside: "open" or "running", where a reseal was cut off or at work when a roll was killed.
        runs: how often the operation ran until it was completed; 0 where it was killed again before that.
    """

    kill: Kill
    delay_ms: float
    hit: bool
    at: str
    beside: str
    runs: int
    seconds: float


@dataclass
class Report:
    """The whole story."""

    seed: int
    rows: int = 0
    usual_ms: dict[str, float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    actors: dict[str, Any] = field(default_factory=dict)
    forgotten: int = 0  # values under destroyed keys, none of which opened

    @property
    def hits(self) -> int:
        """Kills that met a running operation."""
        return sum(outcome.hit for outcome in self.outcomes)

    @property
    def in_phase(self) -> dict[str, int]:
        """For each phase, the kills that were meant for it and fell in it."""
        found = Counter(each.kill.phase for each in self.outcomes if each.hit and each.at == each.kill.phase)
        return {phase: found[phase] for phase in self.usual_ms}

    @property
    def targets(self) -> dict[str, int]:
        """How often each target was killed."""
        return dict(Counter(outcome.kill.target for outcome in self.outcomes if outcome.hit))

    @property
    def beside(self) -> dict[str, int]:
        """How many rolls were killed beside a reseal that was cut off, and beside one at work."""
        return dict(Counter(outcome.beside for outcome in self.outcomes if outcome.hit and outcome.beside))

    def reads(self) -> int:
        """Values read by all readers."""
        return sum(each["done"] for name, each in self.actors.items() if name.startswith("reader"))

    def to_json(self) -> str:
        """One JSON object."""
        summary = {"kills": len(self.outcomes), "hits": self.hits, "in_phase": self.in_phase, "targets": self.targets}
        summary |= {"beside": self.beside}
        return json.dumps({**summary, "reads": self.reads(), **asdict(self)}, indent=1)
