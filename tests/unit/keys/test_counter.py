"""Opening numbers: none skipped, none twice, and what may lack a record is known after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sensmail.keys import FileRoot, Keyring, Place, counter
from sensmail.keys.errors import CounterLost

Open = Callable[[], Keyring]


def test_numbers_follow_one_another_over_restarts_and_rolls(reopen: Open) -> None:
    given: list[int] = []
    for _ in range(4):
        with reopen() as ring:
            given += ring.reserve_openings(3)
            ring.roll()
            given += ring.reserve_openings(1)
    assert given == list(range(1, 17))


def test_what_may_lack_a_record_is_known(reopen: Open) -> None:
    with reopen() as ring:
        ring.reserve_openings(5)
        ring.settle_openings(3)
        assert list(ring.unsettled_openings()) == [4, 5]
        ring.reserve_openings(1)
    with reopen() as ring:  # without a word: as after a crash
        assert list(ring.unsettled_openings()) == [4, 5, 6]
        ring.settle_openings(6)
        assert list(ring.unsettled_openings()) == []
        for wrong in (5, 7):
            with pytest.raises(ValueError, match="not between"):
                ring.settle_openings(wrong)
        with pytest.raises(ValueError, match="at least one"):
            ring.reserve_openings(0)


def test_a_counter_put_back_is_noticed(reopen: Open, places: list[Place]) -> None:
    with reopen() as ring:
        ring.reserve_openings(5)
        old = places[0].read("counter") or b""
        ring.reserve_openings(5)
        ring.roll()
    places[0].path("counter").write_bytes(old)
    with pytest.raises(CounterLost, match="`sensmail keys fill` counts on from the records, from 10 at least"):
        reopen()


def test_a_lost_counter_goes_on_from_the_records(reopen: Open, places: list[Place], root: FileRoot) -> None:
    with reopen() as ring:
        ring.reserve_openings(5)
        ring.roll()
        ring.reserve_openings(2)
    places[0].path("counter").unlink()
    with pytest.raises(CounterLost, match="missing"):
        reopen()
    with Keyring.open(places, root, issued=7) as ring:
        assert list(ring.unsettled_openings()) == [6, 7]
    with reopen() as ring:
        assert ring.reserve_openings(1) == range(8, 9)
    with Keyring.open(places, root, issued=2) as ring:  # never below the snapshot's floor
        assert ring.reserve_openings(1)[0] > 5


def test_a_clean_stop_gives_unused_numbers_back(reopen: Open) -> None:
    """None is void afterwards, none is skipped, and none given twice."""
    with reopen() as ring:
        assert ring.reserve_openings(100) == range(1, 101)
        for wrong in (101, 1000):
            with pytest.raises(ValueError, match="not between"):
                ring.release_openings(wrong)
        ring.settle_openings(7)
        with pytest.raises(ValueError, match="not between"):
            ring.release_openings(6)
        ring.release_openings(7)
        assert list(ring.unsettled_openings()) == []
    with reopen() as ring:
        assert list(ring.unsettled_openings()) == []
        assert ring.reserve_openings(2) == range(8, 10)
        ring.release_openings(8)
    with reopen() as ring:
        assert list(ring.unsettled_openings()) == [8]


def test_numbers_below_the_snapshots_floor_are_not_given_back(reopen: Open) -> None:
    """The snapshot says that 10 were issued; a counter below that would be taken for one that was put back."""
    with reopen() as ring:
        ring.reserve_openings(10)
        ring.settle_openings(4)
        ring.roll()
        ring.release_openings(4)
        assert list(ring.unsettled_openings()) == [5, 6, 7, 8, 9, 10]
    with reopen() as ring:
        assert list(ring.unsettled_openings()) == [5, 6, 7, 8, 9, 10]
        assert ring.reserve_openings(1) == range(11, 12)


@pytest.mark.parametrize("rolled", [0, 5])
def test_a_number_far_above_the_snapshots_is_refused(
    reopen: Open, places: list[Place], root: FileRoot, rolled: int
) -> None:
    """One altered record must not make the caller look for thousands of millions of numbers."""
    with reopen() as ring:
        if rolled:
            ring.reserve_openings(rolled)
            ring.roll()
    before = places[0].read("counter")
    most = rolled + counter.MAX_AHEAD
    assert counter.MAX_AHEAD == 10_000_000
    for wrong in (most + 1, 2**63, 2**64):
        with pytest.raises(CounterLost, match=f"{wrong} .* above {rolled}, the snapshot's; check that the records"):
            Keyring.open(places, root, issued=wrong)
        assert places[0].read("counter") == before
    with Keyring.open(places, root, issued=most) as ring:
        assert ring.reserve_openings(1) == range(most + 1, most + 2)


def _elsewhere(work: Callable[[], object]) -> None:
    """In another thread, which must not have to wait for this one."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits for the writer"


def test_openings_are_numbered_while_a_roll_is_at_work(reopen: Open) -> None:
    given: list[int] = []

    def opening(_phase: str) -> None:
        _elsewhere(lambda: given.extend(ring.reserve_openings(2)))
        _elsewhere(lambda: ring.settle_openings(given[-1]))

    with reopen() as ring:
        ring.roll(progress=opening)
        assert ring.status().issued == len(given) == 10
    assert given == list(range(1, 11))
    with reopen() as ring:  # the floor of the snapshot is not above the counter
        assert ring._state.openings == 0
        assert ring.reserve_openings(1) == range(11, 12)


def test_numbers_are_not_given_back_below_the_floor_of_a_roll_at_work(reopen: Open) -> None:
    with reopen() as ring:
        ring.reserve_openings(10)
        ring.settle_openings(4)

        def stop(phase: str) -> None:
            if phase == "prepare":
                _elsewhere(lambda: ring.reserve_openings(5))
                _elsewhere(lambda: ring.release_openings(4))

        ring.roll(progress=stop)
        assert list(ring.unsettled_openings()) == [5, 6, 7, 8, 9, 10]
    with reopen() as ring:
        assert list(ring.unsettled_openings()) == [5, 6, 7, 8, 9, 10]
