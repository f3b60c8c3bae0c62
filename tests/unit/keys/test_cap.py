"""The cap on what a key file may hold, so that a snapshot can always be written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sensmail.keys import Keyring, Place, keyring, snapshot
from sensmail.keys import state as content
from sensmail.keys.errors import TooManyKeys

Open = Callable[[], Keyring]


def _files(places: list[Place]) -> list[bytes | None]:
    return [place.read(name) for place in places for name in place.names()]


def test_a_snapshot_of_as_much_as_there_may_be_fits() -> None:
    """Every row a key version, every subject closed; the rest is left for the list of places."""
    widest = content.KEY_ROW.size + content.CLOSED_ROW.size
    assert widest >= content.TOMBSTONE_ROW.size
    assert content.MAX_ROWS * widest < 0.6 * snapshot._MAX_BYTES


def test_no_key_is_made_beyond_the_cap(reopen: Open, places: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MAX_ROWS", 6)
    with reopen() as ring:
        made = [key.subject for key in ring.new_subject_keys(4)]
        ring.new_versions(made[:1])
        before, keys = _files(places), list(ring.subjects())
        attempts: list[Callable[[], object]] = [
            lambda: ring.new_subject_keys(2),
            lambda: ring.adopt([bytes(15) + b"\x01", bytes(15) + b"\x02"]),
            lambda: ring.new_versions(made[:2]),
            lambda: ring.replace(made[1:3]),
        ]
        for attempt in attempts:
            with pytest.raises(TooManyKeys, match=r"first: holds 5 .* at most 6; 2 more do not fit"):
                attempt()
            assert (_files(places), list(ring.subjects())) == (before, keys)
        ring.new_subject_key()
        with pytest.raises(TooManyKeys, match="1 more"):
            ring.new_subject_key()
        ring.close_subjects(made)
        assert ring.roll() == 2  # what is there goes on


def test_tombstones_count_over_restarts_and_rolls(reopen: Open) -> None:
    """Else making and destroying in turn would fill the snapshot."""
    with reopen() as ring:
        one, two, *_ = (key.subject for key in ring.new_subject_keys(3))
        ring.new_versions([one, two])
        ring.destroy_subjects([one])
        assert ring._state.rows == 4  # versions: 2 of two, 1 of the third; one tombstone
    for _ in range(2):
        with reopen() as ring:
            assert ring._state.rows == 4
            ring.roll()
            assert ring._state.rows == 4
