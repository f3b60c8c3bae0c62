"""No copy is forgotten: a place that was ever in use is named at every opening, or declared lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sensmail.keys import FileRoot, Keyring, Place
from sensmail.keys.errors import Damaged, PlaceEmpty, PlaceNotNamed, PlaceUnreachable
from sensmail.keys.remembered import decode, encode
from sensmail.keys.state import Act, State

Open = Callable[[], Keyring]


@pytest.fixture
def third(tmp_path: Path) -> Place:
    """An empty third place."""
    made = Place(tmp_path / "third")
    made.directory.mkdir()
    return made


def test_a_place_less_is_refused(reopen: Open, places: list[Place], root: FileRoot, third: Place) -> None:
    with reopen() as ring:
        ring.new_subject_key()
    before = [(name, places[0].read(name)) for name in places[0].names()]
    with pytest.raises(PlaceNotNamed, match=r"second: holds a copy .* declare it lost"):
        Keyring.open([places[0], third], root, fill_empty=True)
    assert [(name, places[0].read(name)) for name in places[0].names()] == before
    assert third.names() == [], "a place that the key file does not remember gets no copy"
    reopen().close()


def test_an_added_place_is_remembered_and_reached_by_rolls(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    with reopen() as ring:
        ring.new_subject_key()
    with pytest.raises(PlaceEmpty):
        Keyring.open([*places, third], root)
    Keyring.open([*places, third], root, fill_empty=True).close()
    with pytest.raises(PlaceNotNamed, match="third"):
        reopen()
    with Keyring.open([*places, third], root) as ring:
        ring.roll()
    assert (third.read("slot.1") or b"")[8] == 2
    with pytest.raises(PlaceNotNamed, match="third"):
        reopen()


def test_an_added_place_that_is_away_is_remembered_at_once(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    reopen().close()
    third.directory.rmdir()
    with Keyring.open([*places, third], root, fill_empty=True) as ring:
        with pytest.raises(PlaceUnreachable, match="third"):
            ring.new_subject_key()
        third.directory.mkdir()
        ring.new_subject_key()
        assert third.read("snapshot") == places[0].read("snapshot")
    with pytest.raises(PlaceNotNamed, match="third"):
        reopen()


@pytest.mark.parametrize("act", [Keyring.new_subject_key, Keyring.roll], ids=["new", "roll"])
def test_a_place_gets_no_copy_before_it_is_remembered(
    reopen: Open, places: list[Place], root: FileRoot, third: Place, act: Callable[[Keyring], object]
) -> None:
    """The second place is away, so nothing can be written down; the new one waits as well."""
    with reopen() as ring:
        key = ring.new_subject_key()
    away = places[1].directory.with_name("away")
    places[1].directory.rename(away)
    with Keyring.open([*places, third], root, fill_empty=True) as ring:
        assert ring.key(key.subject, 1) == key
        with pytest.raises(PlaceUnreachable, match="second"):
            act(ring)
        assert third.names() == []
        away.rename(places[1].directory)
        act(ring)
        assert third.read("snapshot") == places[0].read("snapshot")
        assert set(ring.status().places.values()) == {"in step"}
    with pytest.raises(PlaceNotNamed, match="third"):
        reopen()


def test_a_copy_made_by_hand_is_brought_in_step(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
    for name in places[1].names():
        shutil.copy(places[1].path(name), third.path(name))
    with Keyring.open([*places, third], root) as ring:
        assert ring.key(key.subject) == key
        assert set(ring.status().places.values()) == {"in step"}
    assert third.read("journal.1") == places[0].read("journal.1")


def test_a_lost_place_is_declared_once_and_shown_for_good(
    reopen: Open, places: list[Place], root: FileRoot, third: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
        assert ring.status().lost == {}
    shutil.rmtree(places[1].directory)
    with Keyring.open([places[0], third], root, fill_empty=True, lost=[places[1].directory]) as ring:
        declared = ring.status().lost
        assert list(declared) == [str(places[1].directory)]
        assert declared[str(places[1].directory)] > 1_600_000_000
        ring.roll()
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    for _ in range(2):
        with Keyring.open([places[0], third], root) as ring:
            assert ring.status().lost == declared
            assert ring.key(key.subject) == key


def test_a_declaration_that_does_not_fit_is_refused(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    reopen().close()
    for wrong in (third.directory, places[1].directory):
        with pytest.raises(PlaceNotNamed, match="cannot be declared lost"):
            Keyring.open(places, root, lost=[wrong])


def test_a_lost_place_that_is_found_again_is_in_use_again(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    reopen().close()
    away = places[1].directory.with_name("away")
    places[1].directory.rename(away)
    with Keyring.open([places[0], third], root, fill_empty=True, lost=[places[1].directory]) as ring:
        ring.roll()
    away.rename(places[1].directory)
    with Keyring.open([*places, third], root) as ring:
        assert ring.status().lost == {}
        assert set(ring.status().places.values()) == {"in step"}
        assert (places[1].read("slot.1") or b"")[8] == 2, "its old epoch key is overwritten too"
    with pytest.raises(PlaceNotNamed):
        Keyring.open([places[0], third], root)


def test_a_declaration_that_cannot_be_kept_opens_nothing(
    reopen: Open, places: list[Place], root: FileRoot, third: Place, tmp_path: Path
) -> None:
    """Another place that is in use is away: the declaration would be in one place only."""
    reopen().close()
    Keyring.open([*places, third], root, fill_empty=True).close()
    third.directory.rename(tmp_path / "away")
    fourth = Place(tmp_path / "fourth")
    fourth.directory.mkdir()
    with pytest.raises(PlaceUnreachable, match="third"):
        Keyring.open([places[0], third, fourth], root, fill_empty=True, lost=[places[1].directory])
    assert fourth.names() == []
    (tmp_path / "away").rename(third.directory)
    with Keyring.open([*places, third], root) as ring:
        assert ring.status().lost == {}


def test_the_newest_key_waits_for_the_place_that_takes_a_lost_ones_stead(
    reopen: Open, places: list[Place], root: FileRoot, third: Place
) -> None:
    """It may be in the first place only: nothing is sealed with it before it is in a second one."""
    with reopen() as ring:
        newest = ring.new_subject_key()
    third.directory.rmdir()
    lost = [places[1].directory]
    with Keyring.open([places[0], third], root, fill_empty=True, lost=lost) as ring:
        with pytest.raises(PlaceUnreachable, match="newest key"):
            ring.key(newest.subject)
        assert ring.key(newest.subject, 1) == newest
        third.directory.mkdir()
        ring.new_subject_key()
        assert ring.key(newest.subject) == newest


def test_the_list_in_the_journal_and_in_the_snapshot() -> None:
    listed = {"/b": 0, "/a 한글": 1_700_000_000}
    packed = encode(listed)
    assert decode(b"xy" + packed + b"z", 2) == (listed, len(packed) + 2)
    state = State()
    state.apply(bytes([Act.PLACES]) + packed, 1)
    assert State.decode(state.encode()).places == listed
    for wrong in (packed[:-1], packed + b"\0", b"", packed.replace("한".encode(), b"\xff\xff\xff")):
        with pytest.raises(Damaged):
            State().apply(bytes([Act.PLACES]) + wrong, 1)
