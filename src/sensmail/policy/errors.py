"""What is wrong with a policy file: every problem with its place, its clause, the value and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 80  # characters of a wrong value worth printing


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `line` counts from 1; `clause` is like ``art4-3``, or ``policy`` outside every article."""

    file: str
    line: int
    clause: str
    what: str
    fix: str

    def __str__(self) -> str:
        """Return the problem as one line of text, in the form editors and terminals make clickable."""
        end = "" if self.fix.endswith("?") else "."
        return f"{self.file}:{self.line}: {self.clause}: {self.what}. Fix: {self.fix}{end}"


class PolicyError(Exception):
    """A policy that cannot be accepted. `problems` holds all that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Gather the problems, each once, into one message."""
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.file, p.line, p.clause, p.what)))
        count = len(self.problems)
        head = "The policy was refused: 1 problem." if count == 1 else f"The policy was refused: {count} problems."
        super().__init__("\n".join([head, *(str(problem) for problem in self.problems)]))


def quoted(value: object) -> str:
    """Return a value for a message: on one line, printable whatever it holds, and not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
