"""Calendar durations as ISO 8601 writes them (``P1Y``, ``P1M``, ``P5D``), whole days and up.

A year is 365 or 366 days and a month 28 to 31, so two durations do not always have an order. What a promise
needs is certainty, so the question asked here is *is a at least as long as b, whatever day it starts on*:

* ``P12M`` covers ``P1Y`` and the other way round: they are the same duration;
* ``P366D`` covers ``P1Y``; ``P365D`` does not, because it is a day short in a leap year;
* neither of ``P30D`` and ``P1M`` covers the other.

A promise to keep something is enforced with the longest number of days (`longest_days`), a promise to act in time
with the shortest (`shortest_days`), so that no start date breaks it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

MAX_YEARS = 100
PATTERN = r"^P(?=[0-9])(?:[0-9]{1,4}Y)?(?:[0-9]{1,4}M)?(?:[0-9]{1,4}W)?(?:[0-9]{1,5}D)?$"

_PARTS = re.compile(r"P(?=[0-9])(?:([0-9]{1,4})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?", re.ASCII)
_CYCLE = 400 * 12  # the Gregorian calendar repeats after this many months

# Days from the start of the cycle to the start of each month, over two cycles so that a span may wrap around.
_STARTS = tuple(
    accumulate((monthrange(2000 + n // 12 % 400, n % 12 + 1)[1] for n in range(2 * _CYCLE)), initial=0),
)


@lru_cache(maxsize=256)
def _month_span(months: int) -> tuple[int, int]:
    """Return the fewest and the most days that `months` calendar months (0 to 1200) can last.

    Spans from the first of a month bound all others: a day clamped to a shorter month (31 January + 1 month)
    lands between the spans that start on the first of that month and of the next.
    """
    spans = [_STARTS[start + months] - _STARTS[start] for start in range(_CYCLE)]
    return min(spans), max(spans)


@dataclass(frozen=True, slots=True)
class Duration:
    """A number of calendar months and days; both zero or more, together more than nothing."""

    months: int
    days: int

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read an ISO 8601 duration of years, months, weeks and days. ValueError when it is not one."""
        found = _PARTS.fullmatch(text)
        if found is None:
            raise ValueError("not an ISO 8601 duration of years, months, weeks or days")
        years, months, weeks, days = (int(part or 0) for part in found.groups())
        made = cls(years * 12 + months, weeks * 7 + days)
        if made == cls(0, 0):
            raise ValueError("a duration of nothing keeps no promise")
        if made.months > MAX_YEARS * 12 or made.days > MAX_YEARS * 365:
            raise ValueError(f"longer than {MAX_YEARS} years")
        return made

    def __str__(self) -> str:
        """Return the shortest ISO 8601 form: ``P12M`` reads back as ``P1Y``."""
        years, months = divmod(self.months, 12)
        parts = ((years, "Y"), (months, "M"), (self.days, "D"))
        return "P" + "".join(f"{number}{unit}" for number, unit in parts if number)

    @property
    def shortest_days(self) -> int:
        """The days that surely have not run over: for deadlines."""
        return _month_span(self.months)[0] + self.days

    @property
    def longest_days(self) -> int:
        """The days after which the duration is surely over: for keeping."""
        return _month_span(self.months)[1] + self.days

    def covers(self, other: Duration) -> bool:
        """Tell whether this is at least as long as `other` from every start date."""
        months = self.months - other.months
        spare = self.days - other.days
        if months >= 0:
            return _month_span(months)[0] + spare >= 0
        return spare >= _month_span(-months)[1]


def longer(first: Duration, second: Duration) -> Duration:
    """Return the one that is never the shorter; where neither is, the days that cover both."""
    if first.covers(second):
        return first
    return second if second.covers(first) else Duration(0, max(first.longest_days, second.longest_days))


def shorter(first: Duration, second: Duration) -> Duration:
    """Return the one that is never the longer; where neither is, the days that both cover."""
    if second.covers(first):
        return first
    return second if first.covers(second) else Duration(0, min(first.shortest_days, second.shortest_days))
