"""Durations: what each covers, whatever the start date."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.policy.durations import Duration, longer, shorter

durations = (
    st.builds(Duration, st.integers(0, 120), st.integers(0, 4000))
    | st.builds(lambda months, more: Duration(0, max(1, months * 30 + more)), st.integers(0, 24), st.integers(-9, 19))
    | st.builds(Duration, st.integers(0, 24), st.integers(0, 3))
).filter(lambda duration: duration != Duration(0, 0))  # many of them nearly equal, where the order is hard to tell
starts = st.dates(date(1900, 1, 1), date(2200, 12, 31))


def end(start: date, duration: Duration) -> date:
    """Add a duration as calendars do, by other means than the code under test."""
    months = start.year * 12 + start.month - 1 + duration.months
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(start.day, monthrange(year, month)[1])) + timedelta(duration.days)


@pytest.mark.parametrize(
    ("text", "months", "days"),
    [("P1Y", 12, 0), ("P12M", 12, 0), ("P2W", 0, 14), ("P1Y2M3D", 14, 3), ("P100Y", 1200, 0), ("P0Y5D", 0, 5)],
)
def test_parse(text: str, months: int, days: int) -> None:
    assert Duration.parse(text) == Duration(months, days)


@pytest.mark.parametrize(
    "text",
    ["", "P", "1Y", "P1", "PT72H", "P1DT1H", "-P1Y", "P-1Y", "P1.5Y", "p1y", "P1Y ", "P1Y\n", "P0D", "P101Y", "P1D1Y",
     "P１Y", "P99999D", "P1Y1Y", "1 year"],
)  # fmt: skip
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        Duration.parse(text)


@given(durations)
def test_text_reads_back(duration: Duration) -> None:
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("first", "second", "covers", "covered"),
    [
        ("P1Y", "P12M", True, True),
        ("P365D", "P1Y", False, True),
        ("P366D", "P1Y", True, False),
        ("P30D", "P1M", False, False),
        ("P31D", "P1M", True, False),
        ("P28D", "P1M", False, True),
        ("P2Y", "P1Y", True, False),
        ("P1M1D", "P1M", True, False),
        ("P5Y", "P1825D", True, False),
        ("P5Y", "P1827D", False, True),
    ],
)
def test_covers(first: str, second: str, covers: bool, covered: bool) -> None:
    one, two = Duration.parse(first), Duration.parse(second)
    assert (one.covers(two), two.covers(one)) == (covers, covered)


@given(durations, durations, starts)
def test_covering_holds_from_every_date(first: Duration, second: Duration, start: date) -> None:
    if first.covers(second):
        assert end(start, first) >= end(start, second)


@pytest.mark.parametrize(("first", "second"), [("P365D", "P1Y"), ("P30D", "P1M"), ("P59D", "P2M"), ("P5Y", "P1827D")])
def test_what_is_not_covered_fails_on_some_date(first: str, second: str) -> None:
    one, two = Duration.parse(first), Duration.parse(second)
    days = (date(2000, 1, 1) + timedelta(number) for number in range(1461))
    assert any(end(day, one) < end(day, two) for day in days)


@given(durations, starts)
def test_days_are_on_the_safe_side(duration: Duration, start: date) -> None:
    assert duration.shortest_days <= (end(start, duration) - start).days <= duration.longest_days


@pytest.mark.parametrize(
    ("text", "shortest", "longest"),
    [("P1Y", 365, 366), ("P2Y", 730, 731), ("P5Y", 1825, 1827), ("P1M", 28, 31), ("P10D", 10, 10)],
)
def test_days(text: str, shortest: int, longest: int) -> None:
    duration = Duration.parse(text)
    assert (duration.shortest_days, duration.longest_days) == (shortest, longest)


@pytest.mark.parametrize(
    ("first", "second", "long", "short"),
    [
        ("P30D", "P1M", "P31D", "P28D"),
        ("P60D", "P2M", "P62D", "P59D"),
        ("P12M", "P1Y", "P1Y", "P1Y"),
        ("P1Y", "P365D", "P1Y", "P365D"),
    ],
)
def test_where_neither_covers_the_other_days_decide(first: str, second: str, long: str, short: str) -> None:
    one, two = Duration.parse(first), Duration.parse(second)
    assert {str(longer(one, two)), str(longer(two, one))} == {long}
    assert {str(shorter(one, two)), str(shorter(two, one))} == {short}


@given(durations, durations, starts)
def test_longer_is_never_the_shorter(first: Duration, second: Duration, start: date) -> None:
    assert end(start, longer(first, second)) >= max(end(start, first), end(start, second))


@given(durations, durations, starts)
def test_shorter_is_never_the_longer(first: Duration, second: Duration, start: date) -> None:
    assert end(start, shorter(first, second)) <= min(end(start, first), end(start, second))
