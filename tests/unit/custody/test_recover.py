"""Two officers take a lost host's keys over to a new one; cut off anywhere, it is repeated; no keys are overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.custody.recover import Request, fill, recover
from sensmail.host.files import Files
from sensmail.keys import KeyFailure, Place, drill
from sensmail.keys.errors import Diverged, KeyFileExists, KeyFileMissing, PlaceEmpty, PlaceNotNamed, RecoveryError
from unit.custody.conftest import Site, copied, opened

Private = list[X25519PrivateKey]


@pytest.fixture
def gave_up(lost: Site) -> Request:
    """The new host's directories have other names, so the old ones are declared lost."""
    return Request(issued=41, lost=[str(place.directory) for place in lost.places])


def fill_up(site: Site) -> tuple[list[Any], bytes]:
    """Some people, one of them purged; what the ring says of them."""
    with site.open() as ring:
        *kept, gone = ring.new_subject_keys(5)
        ring.new_versions([kept[0].subject])
        ring.destroy_subjects([gone.subject])
        ring.roll()
        late = ring.new_subject_key()  # in the journal only
        return [*(ring.key(each.subject) for each in kept), late], gone.subject


def check(site: Site, people: list[Any], gone: bytes) -> None:
    with site.open() as ring:
        assert [ring.key(each.subject) for each in people] == people
        assert ring.destroyed(gone)
        status = ring.status()
        assert (status.recovery, status.destroying, set(status.places.values())) == (True, False, {"in step"})
        assert status.root == site.root.identity().hex()


@pytest.mark.parametrize("pair", [(0, 1), (2, 0), (1, 2)])
def test_the_new_host_has_everybodys_keys(
    lost: Site, fresh: Site, media: Path, officers: Private, pair: tuple[int, int], gave_up: Request
) -> None:
    people, gone = fill_up(lost)
    copy = copied(lost.places[1], media / "copy")
    shutil.rmtree(lost.folder)
    done = recover(copy, opened(copy, *(officers[each] for each in pair)), fresh.places, [fresh.root], gave_up)
    assert (done.epoch, done.subjects, done.tombstones, done.error) == (3, 5, 1, "")
    assert done.discarded not in {"", done.ring}
    check(fresh, people, gone)
    with fresh.open() as ring:
        assert ring.reserve_openings(1) == range(42, 43)
        assert set(ring.status().lost) == set(gave_up.lost)


def test_the_copy_itself_is_not_touched(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    fill_up(lost)
    copy = copied(lost.places[1], media / "copy")
    before = {name: copy.read(name) for name in copy.names()}
    recover(copy, opened(copy, *officers[:2]), fresh.places, [fresh.root], gave_up)
    assert {name: copy.read(name) for name in copy.names()} == before


def test_old_places_are_not_forgotten(lost: Site, fresh: Site, media: Path, officers: Private) -> None:
    copy = copied(lost.places[1], media / "copy")
    with pytest.raises(PlaceNotNamed, match="declare it lost"):
        recover(copy, opened(copy, *officers[:2]), fresh.places, [fresh.root], Request(0))


def test_a_host_with_anybodys_keys_is_left_alone(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    with fresh.open() as ring:
        mine = ring.new_subject_key()
    before = fresh.files()
    copy = copied(lost.places[1], media / "copy")
    with pytest.raises(KeyFileExists, match="which is in use; recover on a host that has none"):
        recover(copy, opened(copy, *officers[:2]), fresh.places, [fresh.root], gave_up)
    assert fresh.files() == before
    with fresh.open() as ring:
        ring.destroy_subjects([mine.subject])
    with pytest.raises(KeyFileExists):  # a tombstone is a promise as well
        recover(copy, opened(copy, *officers[:2]), fresh.places, [fresh.root], gave_up)


def test_wrong_pieces_change_nothing(lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request) -> None:
    copy = copied(lost.places[1], media / "copy")
    before = fresh.files()
    with pytest.raises(RecoveryError):
        opened(copy, officers[0], X25519PrivateKey.generate())
    for wrong in (opened(copy, officers[0], officers[0]), opened(lost.places[0], *officers[:2])):
        with lost.open() as ring:
            ring.roll()
        shutil.rmtree(copy.directory)
        copied(lost.places[1], copy.directory)
        with pytest.raises(KeyFailure):
            recover(copy, wrong, fresh.places, [fresh.root], gave_up)
    assert fresh.files() == before


def test_a_damaged_copy_changes_nothing(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    fill_up(lost)
    whole = copied(lost.places[1], media / "whole")
    pieces, before = opened(whole, *officers[:2]), fresh.files()
    for name in ("slot.0", "snapshot"):
        good = whole.read(name) or b""
        for number, bad in enumerate((good[:-9], good[:-1] + bytes([good[-1] ^ 1]), b"")):
            copy = copied(whole, media / f"{name}{number}")
            copy.path(name).write_bytes(bad)
            with pytest.raises(KeyFailure, match=str(copy.directory)):
                recover(copy, pieces, fresh.places, [fresh.root], gave_up)
            assert fresh.files() == before


def test_an_older_copy_never_replaces_a_newer_one(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    old = copied(lost.places[1], media / "old")
    fill_up(lost)
    for name in fresh.places[0].names():
        fresh.places[0].remove(name)
    shutil.copytree(old.directory, fresh.places[0].directory, dirs_exist_ok=True)
    new = copied(lost.places[1], media / "new")
    with pytest.raises(Diverged, match="older state of this key file"):
        recover(new, opened(new, *officers[:2]), fresh.places, [fresh.root], gave_up)


class Killed(BaseException):
    """The power went."""


class Counting(Files):
    """Dies before one of its steps."""

    def __init__(self, die_at: int) -> None:
        self.steps, self.die_at = 0, die_at

    def __getattribute__(self, name: str) -> Any:
        if name in {"pwrite", "truncate", "rename", "unlink", "fsync_directory"}:
            self.steps += 1
            if self.steps == self.die_at:
                raise Killed
        return super().__getattribute__(name)


def test_cut_at_every_step_and_repeated(
    lost: Site, fresh: Site, media: Path, officers: Private, tmp_path: Path, gave_up: Request
) -> None:
    """Every change of a disk is a point where the power goes; the same command then completes."""
    people, gone = fill_up(lost)
    copy = copied(lost.places[1], media / "copy")
    pieces, clean = opened(copy, *officers[:2]), Path(shutil.copytree(fresh.folder, tmp_path / "clean"))
    steps = 0
    while True:
        steps += 1
        shutil.rmtree(fresh.folder)
        shutil.copytree(clean, fresh.folder)
        files = Counting(steps)
        try:
            recover(copy, pieces, [Place(each.directory, files) for each in fresh.places], [fresh.root], gave_up)
        except Killed:
            done = recover(copy, pieces, fresh.places, [fresh.root], gave_up)
            assert done.subjects == 5
            check(fresh, people, gone)
            continue
        break
    assert steps > 40


def test_an_empty_place_is_filled(lost: Site) -> None:
    people, gone = fill_up(lost)
    for index in (1, 0):
        for name in lost.places[index].names():
            lost.places[index].remove(name)
        with pytest.raises(PlaceEmpty, match=rf"is empty now: mount it\..* --replaced {lost.places[index]}`"):
            fill(lost.places, [lost.root], Request(issued=7))
        assert lost.places[index].read("snapshot") is None
        done = fill(lost.places, [lost.root], Request(issued=7, replaced=[f"{lost.places[index]}/"]))
        assert done.steps[0] == f"{lost.places[index]}: filled"
        check(lost, people, gone)
    with lost.open() as ring:
        assert ring.reserve_openings(1).start > 7
        before = [name.rpartition(" (until 20") for name in ring.status().lost]
    assert sorted(name for name, _, _ in before) == sorted(str(each) for each in lost.places), (
        "what became of the disks"
    )
    with pytest.raises(PlaceNotNamed, match="it holds a copy"):
        fill(lost.places, [lost.root], Request(0, replaced=[str(lost.places[1])]))
    assert fill(lost.places, [lost.root], Request(0)).steps == ["every place holds the key file"]


def test_a_replaced_place_gets_no_copy_before_the_key_file_says_so(lost: Site, tmp_path: Path) -> None:
    """Cut off anywhere: it is empty still, and asked about again, or what became of the one before is on the list."""
    people, gone = fill_up(lost)
    for name in lost.places[1].names():
        lost.places[1].remove(name)
    clean, steps, asked = Path(shutil.copytree(lost.folder, tmp_path / "clean")), 0, 0
    while True:
        steps += 1
        shutil.rmtree(lost.folder)
        shutil.copytree(clean, lost.folder)
        files = Counting(steps)
        ask = Request(0, replaced=[str(lost.places[1])])
        try:
            fill([Place(each.directory, files) for each in lost.places], [lost.root], ask)
        except Killed:
            empty = lost.places[1].read("snapshot") is None
            asked += empty
            fill(lost.places, [lost.root], ask if empty else Request(0))
        check(lost, people, gone)
        with lost.open() as ring:
            assert any(name.startswith(f"{lost.places[1]} (until") for name in ring.status().lost)
        if files.steps < steps:
            break
    assert asked > 3
    assert steps > asked + 3


def test_a_lost_counter_goes_on_above_the_records(lost: Site) -> None:
    lost.places[0].remove("counter")
    assert "counted on from 7" in fill(lost.places, [lost.root], Request(issued=7)).steps[1]
    with lost.open() as ring:
        assert ring.reserve_openings(1) == range(8, 9)


def test_numbers_that_the_records_do_not_know_are_unsettled(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    """The service looks for the record of each and writes a void one, so that no gap is left to explain."""
    with lost.open() as ring:
        ring.reserve_openings(60)
        ring.roll()  # the snapshot knows of 60 numbers, the records of 41
    copy = copied(lost.places[1], media / "copy")
    recover(copy, opened(copy, *officers[:2]), fresh.places, [fresh.root], gave_up)
    with fresh.open() as ring:
        assert ring.unsettled_openings() == range(42, 61)


def test_a_place_is_given_up_for_another(lost: Site, tmp_path: Path) -> None:
    people, gone = fill_up(lost)
    shutil.rmtree(lost.places[1].directory)
    old, lost.places[1] = lost.places[1], Place(tmp_path / "third")
    lost.places[1].directory.mkdir()
    with pytest.raises(PlaceNotNamed):
        fill(lost.places, [lost.root], Request(0))
    fill(lost.places, [lost.root], Request(0, [str(old.directory)]))
    check(lost, people, gone)


def test_nothing_to_fill_from_is_named(lost: Site) -> None:
    for place in lost.places:
        shutil.rmtree(place.directory)
        place.directory.mkdir()
    with pytest.raises(KeyFileMissing, match="no place holds a key file; `sensmail keys recover`"):
        fill(lost.places, [lost.root], Request(0))


def test_what_a_recovered_ring_drills_like(
    lost: Site, fresh: Site, media: Path, officers: Private, gave_up: Request
) -> None:
    """The officers' power moves on to the new host's epoch; their old pieces do not."""
    fill_up(lost)
    copy = copied(lost.places[1], media / "copy")
    pieces = opened(copy, *officers[:2])
    recover(copy, pieces, fresh.places, [fresh.root], gave_up)
    with pytest.raises(RecoveryError, match="pieces are of epoch 2"):
        drill(fresh.places[0], pieces)
    assert drill(fresh.places[0], opened(fresh.places[0], *officers[1:])).subjects == 5
