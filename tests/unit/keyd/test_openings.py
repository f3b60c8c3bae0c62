"""The numbers of openings: each has its record in the end, none is used twice, whatever several writers report."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensmail.keyd import openings
from sensmail.keyd.openings import LARGEST, SMALLEST, Openings
from sensmail.keys import FileRoot, Keyring, Place


def test_numbers_come_in_order_and_settle_behind_their_records(ring: Keyring) -> None:
    numbers = Openings(ring)
    assert numbers.take(3) == [1, 2, 3]
    numbers.used([1, 2, 3])
    assert ring.status().settled == 3
    numbers.give_back(numbers.take(2))
    assert numbers.take(1) == [4]
    numbers.doubt([4])
    numbers.used(numbers.take(2))
    assert (ring.status().settled, numbers.doubtful) == (3, [4])
    numbers.resolve([4])
    assert ring.status().settled == 6


def test_nothing_settles_above_what_another_writer_still_works_on(ring: Keyring) -> None:
    numbers = Openings(ring)
    slow, quick = numbers.take(2), numbers.take(3)
    numbers.used(quick)
    assert ring.status().settled == 0
    numbers.used(numbers.take(1))
    numbers.used(slow)
    assert ring.status().settled == 6


def test_numbers_that_come_back_late_are_used_first(ring: Keyring) -> None:
    numbers = Openings(ring)
    first, second = numbers.take(2), numbers.take(2)
    numbers.give_back(first)
    numbers.give_back(second)
    assert numbers.take(5) == [1, 2, 3, 4, 5]


def test_a_clean_stop_gives_back_and_a_doubtful_one_does_not(ring: Keyring) -> None:
    numbers = Openings(ring)
    numbers.used(numbers.take(2))
    numbers.release()
    assert (ring.status().issued, ring.status().settled) == (2, 2)
    numbers = Openings(ring)
    numbers.doubt(numbers.take(1))
    numbers.release()
    assert ring.status().issued > 3
    assert 3 in Openings(ring).doubtful


@pytest.mark.parametrize("above", [1, SMALLEST - 1])
def test_a_clean_stop_gives_no_number_back_below_one_that_was_used(ring: Keyring, above: int) -> None:
    """One writer's records were refused while another's, above them, were kept; with and without free ones above."""
    numbers = Openings(ring)
    refused, kept = numbers.take(1), numbers.take(above)
    numbers.used(kept)
    numbers.give_back(refused)
    numbers.release()
    assert (ring.status().issued, ring.status().settled) == (kept[-1], 0)
    assert Openings(ring).doubtful == [1, *kept], "the next start writes a void record for the one that has none"


def test_blocks_grow_with_the_demand_and_shrink_without(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(openings.time, "monotonic", lambda: now)
    numbers = Openings(ring)
    sizes = []
    for pause in [0.1] * 12 + [5.0, 0.1]:
        now += pause
        before = ring.status().issued
        numbers.used(numbers.take(len(numbers._free) + 1))
        sizes.append(ring.status().issued - before)
    assert sizes[0] == SMALLEST
    assert sizes[1:3] == [2 * SMALLEST, 4 * SMALLEST]
    assert sizes[11] == LARGEST
    assert sizes[12] == SMALLEST


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "used", "give_back", "doubt", "settle", "top_up"]), st.integers(0, 40)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.booleans())
def test_every_number_has_one_record_in_the_end(steps: list[tuple[str, int]], clean: bool) -> None:
    """Any order of what several writers report, then a stop or a crash, then the next start."""
    with TemporaryDirectory() as home:
        places = [Place(Path(home) / name) for name in ("one", "two")]
        for place in places:
            place.directory.mkdir()
        root = FileRoot.create(Path(home) / "root")
        recorded: set[int] = set()
        with Keyring.create(places, root, None) as ring:
            numbers, held = Openings(ring), list[list[int]]()
            for step, count in steps:
                if step == "take":
                    held.append(numbers.take(count % 5 + 1))
                    assert recorded.isdisjoint(held[-1]), "a number that has its record"
                    assert len({each for some in held for each in some}) == sum(map(len, held)), "one number, two takes"
                elif step == "settle":
                    recorded.update(numbers.doubtful)
                    numbers.resolve(numbers.doubtful)
                elif step == "top_up":
                    numbers.top_up()
                elif held:
                    chosen = held.pop(count % len(held))
                    recorded.update(chosen if step == "used" else chosen[: len(chosen) * (step == "doubt") // 2])
                    getattr(numbers, step)(chosen)
                status = ring.status()
                assert recorded >= set(range(1, status.settled + 1)), "settled means that each has its record"
            if clean and not held:
                numbers.release()
        with Keyring.open(places, root) as ring:
            again = Openings(ring)
            assert recorded | set(again.doubtful) >= set(range(1, ring.status().issued + 1))
            assert recorded <= set(range(1, ring.status().issued + 1)), "no record above what was given out"
