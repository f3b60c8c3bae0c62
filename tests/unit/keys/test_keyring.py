"""The keyring: who may still open what, and that it is remembered."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import FileRoot, Keyring, KeyState, Place, SubjectKey
from sensmail.keys.errors import (
    KeyFailure,
    KeyFileExists,
    KeyFileMissing,
    Locked,
    PlaceEmpty,
    PlaceUnreachable,
    SubjectClosed,
    SubjectDestroyed,
    UnknownSubject,
    VersionNotUsable,
    WrongRoot,
)

Open = Callable[[], Keyring]


def test_keys_are_kept(reopen: Open) -> None:
    with reopen() as ring:
        made = [ring.new_subject_key(), *ring.new_subject_keys(5)]
        assert len({key.subject for key in made}) == len({key.material for key in made}) == 6
    with reopen() as ring:
        assert [ring.key(key.subject) for key in made] == made
        assert list(ring.subjects()) == sorted(key.subject for key in made)


def test_a_replaced_version_opens_and_a_retired_one_only_for_a_restore(reopen: Open) -> None:
    with reopen() as ring:
        old = ring.new_subject_key()
        (new,) = ring.new_versions([old.subject])
        assert (new.version, ring.key(old.subject)) == (2, new)
    with reopen() as ring:
        assert ring.versions(old.subject) == {1: KeyState.REPLACED, 2: KeyState.ACTIVE}
        assert ring.key(old.subject, 1).material == old.material
        assert (ring.retire_replaced(), ring.retire_replaced()) == (1, 0)
    with reopen() as ring:
        assert ring.versions(old.subject) == {1: KeyState.RESTORE_ONLY, 2: KeyState.ACTIVE}
        with pytest.raises(VersionNotUsable, match="restore_only"):
            ring.key(old.subject, 1)
        assert ring.key(old.subject, 1, restoring=True).material == old.material
        with pytest.raises(UnknownSubject, match="no key version 3"):
            ring.key(old.subject, 3)


def test_a_version_is_destroyed_for_good(reopen: Open, places: list[Place]) -> None:
    with reopen() as ring:
        old = ring.new_subject_key()
        with pytest.raises(VersionNotUsable, match="active"):
            ring.destroy_version(old.subject, 1)
        (new,) = ring.new_versions([old.subject])
        with pytest.raises(VersionNotUsable, match="replaced"):
            ring.destroy_version(old.subject, 1)
        ring.retire_replaced()
        ring.destroy_version(old.subject, 1)
        assert ring.status().destroying
        ring.roll()
        assert not ring.status().destroying
    with reopen() as ring:
        with pytest.raises(VersionNotUsable, match="destroyed"):
            ring.key(old.subject, 1, restoring=True)
        assert ring.key(old.subject) == new
        assert ring.new_versions([old.subject])[0].version == 3


def test_a_closed_subject_opens_nothing(reopen: Open) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
        ring.close_subjects([key.subject])
    with reopen() as ring:
        with pytest.raises(SubjectClosed):
            ring.key(key.subject)
        with pytest.raises(SubjectClosed):
            ring.key(key.subject, 1, restoring=True)
        assert ring.key(key.subject, 1, closed=True) == key, "for a pass that shows nobody a value"
        ring.roll()
    with reopen() as ring:
        with pytest.raises(SubjectClosed):
            ring.key(key.subject)
        ring.reopen_subjects([key.subject])
        assert ring.key(key.subject) == key


def test_a_destroyed_subject_leaves_a_tombstone_only(reopen: Open, places: list[Place], root: FileRoot) -> None:
    with reopen() as ring:
        gone, stays = ring.new_subject_keys(2)
        ring.new_versions([gone.subject])
        ring.destroy_subjects([gone.subject])
        assert ring.status().destroying
        assert not ring.destroyed(gone.subject)
        ring.roll()
        assert ring.destroyed(gone.subject)
        assert not ring.destroyed(stays.subject)
    with reopen() as ring:
        assert not ring.status().destroying
        assert [each.subject for each in ring.tombstones()] == [gone.subject]
        assert ring.versions(gone.subject) == {}
        for attempt in (ring.key, lambda each: ring.new_versions([each]), lambda each: ring.reopen_subjects([each])):
            with pytest.raises(SubjectDestroyed):
                attempt(gone.subject)
        assert ring.key(stays.subject) == stays


def test_a_roll_makes_older_copies_worthless(reopen: Open, places: list[Place], root: FileRoot, tmp_path: Path) -> None:
    """Snapshot and journal of the time before, with the slots of today and the same root key."""
    with reopen() as ring:
        ring.new_subject_keys(3)
    copies = [Place(Path(shutil.copytree(each.directory, tmp_path / f"copy-{each.directory.name}"))) for each in places]
    old_slot = (places[0].read("slot.1") or b"")[53:113]
    for place in places:  # a second name keeps the old blocks in sight
        os.link(place.path("slot.1"), tmp_path / f"watch-{place.directory.name}")
    Keyring.open(copies, root, lost=[each.directory for each in places]).close()  # before the roll they open
    with reopen() as ring:
        ring.roll()
    for copy, place in zip(copies, places, strict=True):
        for name in ("slot.0", "slot.1"):
            shutil.copy(place.path(name), copy.path(name))
        everything = b"".join(place.read(name) or b"" for name in place.names())
        assert old_slot
        assert old_slot not in everything
        assert not any((tmp_path / f"watch-{place.directory.name}").read_bytes()[33:4064]), "overwritten in place"
    with pytest.raises(KeyFailure, match="destroyed"):
        Keyring.open(copies, root)


def test_many_rolls(reopen: Open) -> None:
    kept: list[SubjectKey] = []
    for number in range(5):
        with reopen() as ring:
            kept.append(ring.new_subject_key())
            assert ring.roll() == 2 * number + 2
            assert ring.roll() == 2 * number + 3
            kept.append(ring.new_subject_key())
            assert [ring.key(each.subject) for each in kept] == kept


class Model:
    """What must be true, in a dictionary and two sets."""

    def __init__(self, ring: Keyring) -> None:
        self.ring = ring
        self.alive: dict[bytes, list[SubjectKey]] = {}
        self.states: dict[bytes, list[KeyState]] = {}
        self.closed: set[bytes] = set()
        self.dead: set[bytes] = set()

    def new(self, _subject: bytes) -> None:
        key = self.ring.new_subject_key()
        self.alive[key.subject] = [key]
        self.states[key.subject] = [KeyState.ACTIVE]

    def version(self, subject: bytes) -> None:
        self.alive[subject] += self.ring.new_versions([subject])
        self.states[subject][-1:] = [KeyState.REPLACED, KeyState.ACTIVE]

    def replace(self, subject: bytes) -> None:
        made = self.ring.replace([subject])
        assert bool(made) == (self.states[subject][-2:-1] != [KeyState.REPLACED])
        if made:
            self.alive[subject] += made
            self.states[subject][-1:] = [KeyState.REPLACED, KeyState.ACTIVE]

    def retire(self, _subject: bytes) -> None:
        assert self.ring.retire_replaced() == self._turn(KeyState.REPLACED, KeyState.RESTORE_ONLY)

    def drop(self, _subject: bytes) -> None:
        assert self.ring.destroy_retired() == self._turn(KeyState.RESTORE_ONLY, KeyState.DESTROYED)

    def _turn(self, old: KeyState, new: KeyState) -> int:
        count = sum(states.count(old) for states in self.states.values())
        for states in self.states.values():
            states[:] = [new if each is old else each for each in states]
        return count

    def close(self, subject: bytes) -> None:
        self.ring.close_subjects([subject])
        self.closed.add(subject)

    def reopen(self, subject: bytes) -> None:
        self.ring.reopen_subjects([subject])
        self.closed.discard(subject)

    def destroy(self, subject: bytes) -> None:
        self.ring.destroy_subjects([subject])
        del self.alive[subject], self.states[subject]
        self.dead.add(subject)

    def roll(self, _subject: bytes) -> None:
        self.ring.roll()

    def check(self) -> None:
        assert list(self.ring.subjects()) == sorted(self.alive)
        assert {each.subject for each in self.ring.tombstones()} == self.dead
        for each, keys in self.alive.items():
            assert list(self.ring.versions(each).values()) == self.states[each]
            if each in self.closed:
                with pytest.raises(SubjectClosed):
                    self.ring.key(each)
            else:
                assert self.ring.key(each) == keys[-1]
                for key, state in zip(keys, self.states[each], strict=True):
                    if state is not KeyState.DESTROYED:
                        assert self.ring.key(each, key.version, restoring=True).material == key.material


def test_the_keyring_agrees_with_a_simple_model(reopen: Open) -> None:
    """Random acts, reopenings and rolls, checked after each."""
    chance = random.Random(20260111)
    model = Model(reopen())
    for _ in range(500):
        acts = [model.new, model.new, model.version, model.replace, model.close, model.reopen, model.roll, None]
        acts += [model.retire, model.drop] * (chance.random() < 0.3)
        acts += [model.destroy] * (len(model.alive) > 3)
        act = chance.choice(acts) if model.alive else model.new
        if act is None:
            model.ring.close()
            model.ring = reopen()
        else:
            act(chance.choice(sorted(model.alive)) if model.alive else b"")
        model.check()
    model.ring.close()


def test_readers_never_wait_and_never_miss_a_key_during_rolls(reopen: Open) -> None:
    with reopen() as ring:
        keys = ring.new_subject_keys(500)
        stop, reads = threading.Event(), [0]
        wrong: list[object] = []

        def read() -> None:
            chance = random.Random(1)
            while not stop.is_set():
                key = chance.choice(keys)
                reads[0] += 1
                try:
                    if ring.key(key.subject).material != key.material:
                        wrong.append(key)
                except KeyFailure as failure:
                    wrong.append(failure)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(6):
            ring.new_subject_keys(50)
            ring.roll()
        stop.set()
        reader.join()
        assert reads[0] > 100
        assert wrong == []


def test_only_one_process_writes(reopen: Open) -> None:
    with reopen(), pytest.raises(Locked, match="another process"):
        reopen()
    reopen().close()


def test_what_is_refused_on_opening(places: list[Place], root: FileRoot, reopen: Open, tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing):
        Keyring.open(places, root)
    with pytest.raises(ValueError, match="two different places"):
        Keyring.create([places[0], Place(places[0].directory / ".." / "first")], root, None)
    with pytest.raises(ValueError, match="needs a root key"):
        Keyring.create(places, [], None)
    reopen().close()
    with pytest.raises(KeyFileExists):
        Keyring.create(places, root, None)
    with pytest.raises(WrongRoot, match="wrapped by root"):
        Keyring.open(places, FileRoot.create(tmp_path / "another.key"))
    reopen().close()


def test_an_empty_place_is_filled_only_on_demand(reopen: Open, places: list[Place], root: FileRoot) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
    shutil.rmtree(places[1].directory)
    places[1].directory.mkdir()
    with pytest.raises(PlaceEmpty, match="mount"):
        reopen()
    with Keyring.open(places, root, fill_empty=True) as ring:
        assert set(ring.status().places.values()) == {"in step"}
    with Keyring.open(places[::-1], root, issued=0) as ring:
        assert ring.key(key.subject) == key


def test_a_missing_second_place(reopen: Open, places: list[Place]) -> None:
    """Existing keys open; nothing new is handed out; and all is well when it is back."""
    away = places[1].directory.with_name("away")
    with reopen() as ring:
        key = ring.new_subject_key()
        places[1].directory.rename(away)
        before = [places[0].read(name) for name in places[0].names()]
        for attempt in (ring.new_subject_key, ring.roll, lambda: ring.destroy_subjects([key.subject])):
            with pytest.raises(PlaceUnreachable, match="second"):
                attempt()
        assert [places[0].read(name) for name in places[0].names()] == before
        assert ring.key(key.subject) == key
    with reopen() as ring:  # restarted while it is missing
        assert ring.key(key.subject, key.version) == key
        assert "second" in str(ring.status().places)
        with pytest.raises(PlaceUnreachable, match="second"):
            ring.new_subject_key()
        away.rename(places[1].directory)
        new = ring.new_subject_key()
        assert set(ring.status().places.values()) == {"in step"}
    with reopen() as ring:
        assert ring.key(new.subject) == new


def test_a_key_that_may_be_in_one_place_only_is_not_used(reopen: Open, places: list[Place], tmp_path: Path) -> None:
    """The process died between the two places, and the second is missing on restart."""
    with reopen() as ring:
        older = ring.new_subject_key()
        shutil.copy(places[1].path("journal.1"), tmp_path / "before")
        newest = ring.new_subject_key()
    shutil.copy(tmp_path / "before", places[1].path("journal.1"))
    away = places[1].directory.with_name("away")
    places[1].directory.rename(away)
    with reopen() as ring:
        assert ring.key(older.subject) == older
        with pytest.raises(PlaceUnreachable, match="newest key"):
            ring.key(newest.subject)
        assert ring.key(newest.subject, 1) == newest  # an envelope that names it proves that it was handed out
        away.rename(places[1].directory)
        ring.new_subject_key()
        assert ring.key(newest.subject) == newest


def test_no_key_is_shown(reopen: Open, officers: list[X25519PrivateKey]) -> None:
    with reopen() as ring:
        key = ring.new_subject_key()
        shown = repr(key) + repr(ring) + repr(ring.status()) + repr(vars(ring)) + str(ring._state.versions(key.subject))
        replicas = ring._replicas
        shown += repr(replicas.journal) + repr(replicas.epoch) + repr(replicas.epoch.journal_box) + repr(ring._roots)
        secrets = key.material, replicas.epoch.key, replicas.epoch.journal_box.key
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert repr(secret)[2:42] not in shown
