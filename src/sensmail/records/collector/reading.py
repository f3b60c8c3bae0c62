"""From lines to records: in order, without a gap that is not recorded, each with what is known of its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sensmail.ledger import Detail, Entry
from sensmail.records.collector import journald, sequence, sources
from sensmail.records.collector.clock import Clock, step_us
from sensmail.records.collector.entries import entry, refusals
from sensmail.records.collector.found import Act, Kind, Refused
from sensmail.records.collector.line import Line, Position
from sensmail.records.collector.names import Names, addresses
from sensmail.records.collector.sessions import Sessions

People = Callable[[Sequence[str]], Mapping[str, UUID]]


class LookAgain(Exception):
    """A number is missing after the line that was read last.

    Of several journal files one can be read a moment too early, while another already holds a later line. So the place
    is looked at once more before it is called a gap.
    """


@dataclass
class Batch:
    """What was read since the last write: records still without names, and the place of the last line."""

    place: Position | None
    found: list[tuple[Line, Act | Entry, str]] = field(default_factory=list)
    refused: list[tuple[Line, Refused, str]] = field(default_factory=list)
    lines: int = 0


class Reading:
    """Takes lines one after the other. A new one is made whenever journalctl is started anew.

    Attributes:
        batch: what is to be written next.
        sessions: of the host, up to the last line that was taken.
    """

    def __init__(
        self, after: Position | None, sessions: Sessions, names: Names, clock: Clock, looked: Position | None = None
    ) -> None:
        """Begin after a line.

        Args:
            after: the last line that is done with; journalctl is expected to give it again first.
            sessions: of the host, up to there.
            names: tells known names.
            clock: tells what is known of times.
            looked: the line after which a number was missing at the last look; if it is missing still, it is a gap.
        """
        self.sessions = sessions
        self._names, self._clock, self._looked = names, clock, looked
        self._first = True
        self._last = after
        self.batch = Batch(after)

    def take(self, line: Line) -> None:
        """Add what a line says to the batch.

        Raises:
            LookAgain: lines are missing before it; it was not taken.
        """
        before, here = self._last, line.position
        first, self._first = self._first, False
        if before is not None and here.cursor == before.cursor:
            return
        if before is not None and before.stream == here.stream and here.number <= before.number:
            return  # it was done before: journalctl went back to find the place
        step = step_us(before, here)
        clock = self._clock.says(here, step)
        self._look_for_gap(before, line, first, clock)
        if step:
            self._add(line, _stepped(here, step), clock)
        self._add(line, _said(line), clock)
        self._last = self.batch.place = here
        self.batch.lines += 1

    def _look_for_gap(self, before: Position | None, line: Line, first: bool, clock: str) -> None:
        here = line.position
        if before is None or before.stream != here.stream:
            if before is not None and first:
                self._add(line, sequence.gap(before, here, "the last line that was read is no longer there"), clock)
            self._add(line, _begun(line), clock)
        elif not sequence.follows(before, here):
            if before != self._looked:
                raise LookAgain
            self._add(line, sequence.gap(before, here, "lines are missing in the journal"), clock)

    def _add(self, line: Line, what: Act | Entry | Refused | None, clock: str) -> None:
        if isinstance(what, Act):
            what = self.sessions.follow(line, what)
        if isinstance(what, Refused):
            self.batch.refused.append((line, what, clock))
        elif what is not None:
            self.batch.found.append((line, what, clock))

    def finish(self, people: People) -> list[Entry]:
        """The records of the batch, names looked up; and begin the next."""
        done, self.batch = self.batch, Batch(self._last)
        acts = [what for _, what, _ in done.found if isinstance(what, Act) and what.kind is Kind.MAIL]
        known = people(sorted({each for act in acts for each in addresses(act.account)}))
        made = [entry(line, what, clock, self._names, known) for line, what, clock in done.found]
        return made + refusals(done.refused, self._names)


def _said(line: Line) -> Act | Entry | Refused | None:
    """What a line says. No fault of a parser stops the collector, or loses a line."""
    try:
        return journald.parse(line) or sources.read(line)
    except Exception as error:
        return Refused(f"fault of the collector: {type(error).__name__}")


def _stepped(here: Position, step: int) -> Entry:
    detail: Detail = {"seconds": round(step / 1_000_000)}
    return Entry("access", "clock.step", purpose="records", acted_at=here.at, detail=detail)


def _begun(line: Line) -> Entry:
    """A sequence begins: the first line ever, or a start of the system. Its first number says what came before."""
    detail: Detail = {"first": line.position.number}
    return Entry("access", "journal.begin", purpose="records", acted_at=line.position.at, detail=detail)
