"""A full disk, a short write, a place that vanishes: a named error, nothing half done, and it works again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from sensmail.host.files import Files
from sensmail.keys import FileRoot, Keyring, KeyState, Place, SubjectKey
from sensmail.keys.errors import PlaceFull, PlaceUnreachable, RollIncomplete, Unusable
from unit.keys.stepping import Stepping


class Failing(Stepping):
    """Fails with `code` at step `at` and, when `lasting`, at every later step; a failing write does half its work."""

    def __init__(self) -> None:
        self.steps, self.at, self.code, self.lasting, self.failed = 0, 0, errno.ENOSPC, False, False

    def arm(self, at: int, code: int, *, lasting: bool) -> None:
        self.steps, self.at, self.code, self.lasting, self.failed = 0, at, code, lasting, False

    def _step(self, undone: Callable[[], object] = lambda: None) -> None:
        self.steps += 1
        if self.at and (self.steps == self.at or (self.lasting and self.steps > self.at)):
            self.failed = True
            undone()
            raise OSError(self.code, "injected")

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        self._step(lambda: super(Failing, self).pwrite(fd, data[: len(data) // 2], offset))
        return super().pwrite(fd, data, offset)


class Stuttering(Files):
    """Writes at most three bytes at a time, as a disk or a signal may."""

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        return super().pwrite(fd, data[:3], offset)


@pytest.fixture
def disks(places: list[Place]) -> list[Failing]:
    """One failing disk under each place."""
    made = [Failing(), Failing()]
    for place, disk in zip(places, made, strict=True):
        place.files = disk
    return made


def act_new(ring: Keyring, _keys: list[SubjectKey]) -> None:
    ring.new_subject_key()


def act_version(ring: Keyring, keys: list[SubjectKey]) -> None:
    ring.new_versions([keys[0].subject])


def act_close(ring: Keyring, keys: list[SubjectKey]) -> None:
    ring.close_subjects([keys[0].subject])


def act_roll(ring: Keyring, _keys: list[SubjectKey]) -> None:
    ring.roll()


def act_count(ring: Keyring, _keys: list[SubjectKey]) -> None:
    ring.reserve_openings(1)


def act_replace(ring: Keyring, keys: list[SubjectKey]) -> None:
    ring.replace([key.subject for key in keys])


def act_retire(ring: Keyring, keys: list[SubjectKey]) -> None:
    ring.retire_replaced()


ACTS = {"new": act_new, "version": act_version, "close": act_close, "roll": act_roll, "count": act_count}


def seen(ring: Keyring, keys: list[SubjectKey]) -> object:
    """Everything that a caller can see of a keyring, but for its epoch."""
    return (
        list(ring.subjects()),
        [ring.versions(key.subject) for key in keys],
        [ring.key(key.subject, key.version) for key in keys],
        ring.unsettled_openings(),
    )


def assert_nothing_prepared(ring: Keyring, places: list[Place]) -> None:
    """No key of an epoch that never began, and none of its files."""
    epoch = ring.status().epoch
    for place in places:
        assert [name for name in place.names() if name.startswith(("journal", "snap"))] == [
            f"journal.{epoch}",
            "snapshot",
        ]
        assert (place.read(f"slot.{(epoch + 1) % 2}") or bytes(9))[8] != 1


@pytest.mark.parametrize("which", [0, 1], ids=["first place", "second place"])
@pytest.mark.parametrize("act", ACTS)
def test_a_disk_full_for_a_moment(
    reopen: Callable[[], Keyring], places: list[Place], disks: list[Failing], act: str, which: int
) -> None:
    """At every step in turn. The same keyring goes on afterwards, or says that it must be opened again."""
    ring = reopen()
    keys, at, rolls_left_open = ring.new_subject_keys(3), 0, 0
    while True:
        at += 1
        keys = [ring.key(key.subject) for key in keys]
        before = seen(ring, keys)
        disks[which].arm(at, errno.ENOSPC, lasting=False)
        try:
            ACTS[act](ring, keys)
        except PlaceFull:
            assert seen(ring, keys) == before, f"step {at}"
            assert_nothing_prepared(ring, places)
        except RollIncomplete:
            rolls_left_open += 1
            assert seen(ring, keys) == before
            assert ring.status().destroying
        except Unusable:
            assert act == "roll"
            ring.close()
            ring = reopen()
            assert seen(ring, keys) == before
        else:
            if not disks[which].failed:
                break
        disks[which].arm(0, 0, lasting=False)
        ring.close()
        ring = reopen()
        assert seen(ring, keys) == before, f"step {at}, opened again"
        assert ring.new_subject_key().state is KeyState.ACTIVE
        keys[0] = ring.key(keys[0].subject)
    ring.close()
    assert at > 2 or (act, which) == ("count", 1)
    assert bool(rolls_left_open) == (act == "roll")


@pytest.mark.parametrize("act", ["new", "version", "close"])
def test_a_place_that_vanishes_in_the_middle(reopen: Callable[[], Keyring], disks: list[Failing], act: str) -> None:
    """The second place stops answering at a step and stays away: the keyring gives nothing out and says what to do."""
    for at in range(1, 4):
        ring = reopen()
        keys = ring.new_subject_keys(2)
        before = seen(ring, keys)
        disks[1].arm(at, errno.EIO, lasting=True)
        with pytest.raises(PlaceUnreachable, match="second"):
            ACTS[act](ring, keys)
        assert seen(ring, keys) == before
        with pytest.raises((PlaceUnreachable, Unusable)):
            ring.new_subject_key()
        disks[1].arm(0, 0, lasting=False)
        ring.close()
        with reopen() as ring:
            assert ring.new_subject_key().version == 1
            assert set(ring.status().places.values()) == {"in step"}


@pytest.mark.parametrize("which", [0, 1], ids=["first place", "second place"])
def test_a_roll_that_loses_a_place_is_completed_later(
    reopen: Callable[[], Keyring], disks: list[Failing], places: list[Place], which: int
) -> None:
    """At every step: never reported destroyed while an old epoch key may be left, and destroyed in the end."""
    left_open = 0
    for at in range(1, 40):
        ring = reopen()
        gone, stays = ring.new_subject_keys(2)
        ring.destroy_subjects([gone.subject])
        epoch = ring.status().epoch
        disks[which].arm(at, errno.EIO, lasting=True)
        try:
            ring.roll()
        except (PlaceUnreachable, RollIncomplete, Unusable) as failure:
            assert not ring.destroyed(gone.subject)
            left_open += isinstance(failure, RollIncomplete)
        else:
            assert not disks[which].failed
        disks[which].arm(0, 0, lasting=False)
        ring.close()
        with reopen() as ring:
            if ring.status().epoch > epoch and not ring.destroyed(gone.subject):
                assert ring.status().destroying
            ring.roll()
            assert ring.destroyed(gone.subject)
            assert not ring.status().destroying
            assert ring.key(stays.subject) == stays
            for place in places:
                slots = [place.read(name) or b"" for name in ("slot.0", "slot.1")]
                assert sorted(each[8] for each in slots) == [1, 2], "one live slot and one destroyed one"
    assert left_open > 3


def test_a_roll_goes_on_in_the_same_process(reopen: Callable[[], Keyring], disks: list[Failing]) -> None:
    with reopen() as ring:
        gone = ring.new_subject_key()
        ring.destroy_subjects([gone.subject])
        disks[1].arm(14, errno.EIO, lasting=True)
        with pytest.raises(RollIncomplete, match="second"):
            ring.roll()
        with pytest.raises(RollIncomplete):
            ring.roll()
        assert ring.status().destroying
        disks[1].arm(0, 0, lasting=False)
        ring.roll()
        assert ring.destroyed(gone.subject)


def test_nothing_is_buried_by_a_keyring_that_must_be_opened_again(
    reopen: Callable[[], Keyring], disks: list[Failing], places: list[Place]
) -> None:
    """An old epoch is still to be destroyed, and then a record can be neither kept nor taken back."""
    ring = reopen()
    disks[1].arm(14, errno.EIO, lasting=True)
    with pytest.raises(RollIncomplete):
        ring.roll()
    disks[1].arm(0, 0, lasting=False)
    disks[0].arm(3, errno.EIO, lasting=True)
    with pytest.raises((PlaceUnreachable, Unusable)):
        ring.new_subject_key()
    disks[0].arm(0, 0, lasting=False)
    with pytest.raises(Unusable):
        ring.roll()
    assert [(place.read("slot.1") or b"")[8] for place in places] == [1, 1]
    ring.close()
    with reopen() as ring:
        ring.roll()
        assert not ring.status().destroying


class Rotting(Files):
    """Damages every snapshot at the moment it takes its name."""

    def rename(self, source: Path, target: Path) -> None:
        content = source.read_bytes()
        source.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        super().rename(source, target)


@pytest.mark.parametrize("which", [0, 1], ids=["first place", "second place"])
def test_a_place_that_does_not_open_its_copy_stops_the_destruction(
    reopen: Callable[[], Keyring], places: list[Place], which: int
) -> None:
    with reopen() as ring:
        gone = ring.new_subject_key()
        ring.destroy_subjects([gone.subject])
        places[which].files = Rotting()
        with pytest.raises(RollIncomplete, match="does not open"):
            ring.roll()
        assert not ring.destroyed(gone.subject)
        assert [(place.read("slot.1") or b"")[8] for place in places] == [1, 1]


def test_short_writes_are_finished(places: list[Place], root: FileRoot) -> None:
    for place in places:
        place.files = Stuttering()
    with Keyring.create(places, root, None) as ring:
        key = ring.new_subject_key()
        ring.roll()
    with Keyring.open([Place(each.directory) for each in places], root) as ring:
        assert ring.key(key.subject) == key


def test_a_disk_that_takes_nothing(places: list[Place], root: FileRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "pwrite", lambda *_: 0)
    with pytest.raises(PlaceUnreachable, match="took no more bytes"):
        Keyring.create(places, root, None)


def test_a_full_disk_on_creation_leaves_nothing_in_use(
    places: list[Place], root: FileRoot, disks: list[Failing]
) -> None:
    disks[1].arm(2, errno.ENOSPC, lasting=True)
    with pytest.raises(PlaceFull):
        Keyring.create(places, root, None)
    disks[1].arm(0, 0, lasting=False)
    for place in places:
        assert place.read("snapshot") is None
    Keyring.create(places, root, None).close()
