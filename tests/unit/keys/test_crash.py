"""The process dies, or the power goes, at every single step of every write: nothing acknowledged is ever undone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sensmail.keys import FileRoot, Keyring, KeyState, Place, SubjectKey, replicas
from sensmail.keys.errors import Damaged, KeyFileMissing, PlaceNotNamed, SubjectClosed, SubjectDestroyed
from unit.keys.stepping import Stepping

Say = Callable[[str, str], None]


class Counting(Stepping):
    """Calls `at_step` with the number of each step, from 1, before the step is done."""

    def __init__(self, at_step: Callable[[int], None], tear: int = 0) -> None:
        self.steps, self.tear, self._at_step = 0, tear, at_step

    def _step(self) -> None:
        self.steps += 1
        self._at_step(self.steps)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        one_sector = offset == 0 and len(data) <= 512  # which a disk writes whole; the counter relies on it
        if self.steps + 1 == self.tear and not one_sector:  # dies in the middle of this write
            super().pwrite(fd, data[: len(data) // 2], offset)
        self._step()
        return super().pwrite(fd, data, offset)


class PowerLossError(BaseException):
    """Not an Exception, so that nothing on the way tidies up."""


class Volatile(Counting):
    """A disk that keeps only what was synced. `lose` turns the directories into what a restart would find.

    What becomes of names that were not synced: all are "lost", all are "kept" (which bites those who rename before
    they sync), or each by itself, by the toss of a coin ("mixed" and a seed).
    """

    def __init__(self, directories: list[Path], at: int, *, names: str) -> None:
        super().__init__(self._die)
        self._at, self._directories, self._mode = at, directories, names
        self._coin = random.Random(f"{names} {at}")
        self._contents: dict[int, bytes] = {}
        self._names: dict[Path, int] = {}
        self._pinned: list[int] = []  # an open file keeps its inode number from being used again
        for directory in directories:
            for path in directory.iterdir():
                self._contents[path.stat().st_ino] = path.read_bytes()
                self._pin(path)
            self._learn(directory)

    def _die(self, step: int) -> None:
        if step == self._at:
            raise PowerLossError

    def _pin(self, path: Path) -> None:
        self._pinned.append(os.open(path, os.O_RDONLY))

    def _learn(self, directory: Path) -> None:
        self._names = {path: inode for path, inode in self._names.items() if path.parent != directory}
        self._names |= {path: path.stat().st_ino for path in directory.iterdir()}

    def _changed(self, path: Path) -> None:
        if self._mode == "kept":
            self._learn(path.parent)
        elif self._mode.startswith("mixed") and self._coin.random() < 0.5:
            self._names.pop(path, None)
            if path.exists():
                self._names[path] = path.stat().st_ino

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self._pin(path)
        self._changed(path)
        return fd

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self._contents[os.fstat(fd).st_ino] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._changed(target)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._changed(path)

    def fsync_directory(self, path: Path) -> None:
        super().fsync_directory(path)
        self._learn(path)

    def lose(self) -> None:
        for fd in self._pinned:
            os.close(fd)
        for directory in self._directories:
            shutil.rmtree(directory)
            directory.mkdir()
        for path, inode in self._names.items():
            path.write_bytes(self._contents.get(inode, b""))


@dataclass(frozen=True)
class Before:
    """A key file with five subjects, the third closed, the fourth with two versions; and how to copy it."""

    home: Path
    root: FileRoot
    keys: list[SubjectKey]

    def copy(self, to: Path) -> list[Path]:
        shutil.rmtree(to, ignore_errors=True)
        return [Path(shutil.copytree(self.home / name, to / name)) for name in ("first", "second")]


@pytest.fixture
def before(tmp_path: Path) -> Before:
    home, root = tmp_path / "run", FileRoot.create(tmp_path / "root.key")
    for name in ("first", "second"):
        (home / name).mkdir(parents=True)
    with Keyring.create([Place(home / "first"), Place(home / "second")], root, None) as ring:
        keys = ring.new_subject_keys(5)
        ring.roll()
        ring.close_subjects([keys[2].subject])
        keys[3] = ring.new_versions([keys[3].subject])[0]
        ring.settle_openings(ring.reserve_openings(10)[-1])
    home.rename(tmp_path / "before")  # the key file remembers where it was made, and is run there again
    return Before(tmp_path / "before", root, keys)


def act_new(ring: Keyring, keys: list[SubjectKey], say: Say) -> None:
    key = ring.new_subject_key()
    say("key", f"{key.subject.hex()} 1 {key.material.hex()}")
    for key in ring.new_subject_keys(3):
        say("key", f"{key.subject.hex()} 1 {key.material.hex()}")
    (key,) = ring.new_versions([keys[0].subject])
    say("key", f"{key.subject.hex()} 2 {key.material.hex()}")


def act_close(ring: Keyring, keys: list[SubjectKey], say: Say) -> None:
    ring.close_subjects([keys[0].subject, keys[1].subject])
    say("closed", keys[0].subject.hex())
    say("closed", keys[1].subject.hex())
    say("opening", str(ring.reserve_openings(2)[-1]))
    say("opening", str(ring.reserve_openings(1)[-1]))
    used = ring.reserve_openings(5)[1]
    say("opening", str(used))
    ring.settle_openings(used)
    ring.release_openings(used)


def act_roll(ring: Keyring, keys: list[SubjectKey], say: Say) -> None:
    ring.destroy_subjects([keys[4].subject])
    say("dropped", keys[4].subject.hex())
    ring.roll()
    say("destroyed", keys[4].subject.hex())
    act_new(ring, keys, say)


def act_bare_roll(ring: Keyring, _keys: list[SubjectKey], say: Say) -> None:
    ring.roll()
    say("rolled", "")


def act_reseal(ring: Keyring, keys: list[SubjectKey], say: Say) -> None:
    """The life of a version, from replacing it to its end."""
    for key in ring.replace([keys[0].subject, keys[1].subject]):
        say("key", f"{key.subject.hex()} {key.version} {key.material.hex()}")
    (adopted,) = ring.adopt([bytes(15) + b"\x07"])
    say("key", f"{adopted.subject.hex()} 1 {adopted.material.hex()}")
    ring.retire_replaced()
    say("retired", "")
    ring.destroy_retired()
    say("versions dropped", "")
    ring.roll()
    say("versions destroyed", "")


ACTS = {"new": act_new, "close": act_close, "roll": act_roll, "reseal": act_reseal}
RECOVERING = {"bare roll": act_bare_roll}


def check_state(held: dict[int, KeyState], version: int, acknowledged: set[str]) -> KeyState | None:
    """What a version may be, after what was acknowledged of its life; None for a dropped subject."""
    may_be = {KeyState.REPLACED, KeyState.RESTORE_ONLY, KeyState.DESTROYED}
    may_be -= {KeyState.REPLACED} if "retired" in acknowledged else set()
    may_be -= {KeyState.RESTORE_ONLY} if "versions dropped" in acknowledged else set()
    assert version >= len(held) or held[version] in may_be
    return held.get(version)


def check_dropped(ring: Keyring, acknowledged: dict[str, set[str]]) -> None:
    """Who was dropped has a tombstone, and what was destroyed is reported so."""
    for subject in map(bytes.fromhex, acknowledged.get("dropped", set())):
        assert ring.versions(subject) == {}
        assert ring.tombstone(subject) is not None
    for subject in map(bytes.fromhex, acknowledged.get("destroyed", set())):
        assert ring.destroyed(subject)
    assert not ring.status().destroying or "versions destroyed" not in acknowledged


def check(before: Before, directories: list[Path], said: list[tuple[str, str]]) -> None:
    """Whatever was acknowledged holds, nothing is half done, and work goes on."""
    places = [Place(each) for each in directories]
    acknowledged: dict[str, set[str]] = {}
    for kind, what in said:
        acknowledged.setdefault(kind, set()).add(what)
    closed, dropped = acknowledged.get("closed", set()), acknowledged.get("dropped", set())
    given = {(key.subject, key.version): key.material for key in before.keys}
    for line in acknowledged.get("key", set()):
        name, number, secret = line.split()
        given[bytes.fromhex(name), int(number)] = bytes.fromhex(secret)

    with Keyring.open(places, before.root) as ring:
        may_be_gone = {before.keys[4].subject} if ring.tombstone(before.keys[4].subject) else set()
        may_be_closed = {key.subject for key in before.keys[:3]}
        for (subject, version), material in given.items():
            held = ring.versions(subject)
            assert version in held or subject in may_be_gone
            if check_state(held, version, set(acknowledged)) is KeyState.DESTROYED:
                continue
            try:
                assert ring.key(subject, version, restoring=True).material == material
                assert subject.hex() not in closed | dropped
                assert subject != before.keys[2].subject
            except SubjectClosed:
                assert subject in may_be_closed
            except SubjectDestroyed:
                assert subject in may_be_gone
        check_dropped(ring, acknowledged)
        extra = set(ring.subjects()) - {subject for subject, _ in given} - {bytes(15) + b"\x07"}
        assert len(extra) in {0, 1, 3}, "a record of three new subjects was kept in part"
        for subject in ring.subjects():
            states = list(ring.versions(subject).values())
            assert states.count(KeyState.ACTIVE) == 1
            assert states[-1] is KeyState.ACTIVE
        last = max(map(int, acknowledged.get("opening", {"10"})))
        assert ring.reserve_openings(1)[0] > last
        assert len({tuple((name, place.read(name)) for name in _shared(place)) for place in places}) == 1
        fresh = ring.new_subject_key()
        ring.roll()
        assert not ring.status().destroying
    with Keyring.open(places, before.root) as ring:
        assert ring.key(fresh.subject) == fresh
    if {"destroyed", "versions destroyed"} & set(acknowledged):
        assert_dead(before, directories)


def _shared(place: Place) -> list[str]:
    """Names of the files in use, which must be alike in both places."""
    epoch = int.from_bytes((place.read("snapshot") or b"")[24:32])
    return ["snapshot", f"slot.{epoch % 2}", f"journal.{epoch}"]


def assert_dead(before: Before, directories: list[Path]) -> None:
    """The old files with all that is left today do not open: the destroyed key is not back."""
    for directory in directories:
        old = before.copy(directory.parent / "old")
        for each in old:
            for slot in directory.glob("slot.*"):
                shutil.copy(slot, each / slot.name)
        with pytest.raises(Damaged, match=r"destroyed|is of epoch"):
            Keyring.open([Place(each) for each in old], before.root)


def killed(before: Before, directories: list[Path], act: str, at: int, tear: bool) -> tuple[int, list[tuple[str, str]]]:
    """Run an act in a child process that kills itself at a step; returns its steps and what it acknowledged."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)

        def die(step: int) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def say(kind: str, what: str) -> None:
            os.write(writer, json.dumps([kind, what]).encode() + b"\n")

        try:
            files = Counting(die, at if tear else 0)
            with Keyring.open([Place(each, files) for each in directories], before.root) as ring:
                (ACTS | RECOVERING)[act](ring, before.keys, say)
            say("steps", str(files.steps))
            os._exit(0)
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr)
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = [(kind, what) for kind, what in map(json.loads, stream)]
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed; its error is above"
    assert os.WIFSIGNALED(status) or at == 0 or act in RECOVERING, "no kill at this step"
    steps = next((int(what) for kind, what in said if kind == "steps"), 0)
    return steps, said


@pytest.mark.parametrize("tear", [False, True], ids=["between steps", "inside a write"])
@pytest.mark.parametrize("act", ACTS)
def test_killed_at_every_step(before: Before, tmp_path: Path, act: str, tear: bool) -> None:
    steps, said = killed(before, before.copy(tmp_path / "run"), act, 0, tear=False)
    check(before, [tmp_path / "run" / name for name in ("first", "second")], said)
    assert steps > 10
    for at in range(1, steps + 1):
        directories = before.copy(tmp_path / "run")
        _, said = killed(before, directories, act, at, tear)
        try:
            check(before, directories, said)
        except BaseException:
            print(f"act {act}, killed at step {at} of {steps}, inside a write: {tear}, acknowledged: {said}")
            raise
    print(f"{act}: {steps} kills")


def recorder(said: list[tuple[str, str]]) -> Say:
    """Writes down what an act acknowledges."""
    return lambda kind, what: said.append((kind, what))


@pytest.mark.parametrize("names", ["lost", "kept", "mixed 1", "mixed 2", "mixed 3", "mixed 4"])
@pytest.mark.parametrize("act", ACTS)
def test_power_lost_at_every_step(before: Before, tmp_path: Path, act: str, names: str) -> None:
    at, done = 0, False
    while not done:
        at += 1
        directories = before.copy(tmp_path / "run")
        disk = Volatile(directories, at, names=names)
        said: list[tuple[str, str]] = []
        try:
            with Keyring.open([Place(each, disk) for each in directories], before.root) as ring:
                ACTS[act](ring, before.keys, recorder(said))
            done = True
        except PowerLossError:
            pass
        disk.lose()
        try:
            check(before, directories, said)
        except BaseException:
            print(f"act {act}, power lost at step {at}, names {names}, acknowledged: {said}")
            raise
    assert at > 10
    print(f"{act}: power lost {at} times")


@pytest.mark.parametrize("seed", range(40))
def test_killed_again_while_recovering(before: Before, tmp_path: Path, seed: int) -> None:
    """Three kills in a row at random steps; each start first has to clear up after the one before."""
    chance = random.Random(seed)
    directories = before.copy(tmp_path / "run")
    for _ in range(3):
        at = chance.randrange(1, 60)
        killed(before, directories, "bare roll", at, tear=bool(chance.randrange(2)))
    check(before, directories, [])


@pytest.mark.parametrize("names", ["lost", "kept", "mixed 5", "mixed 6"])
def test_power_lost_at_every_step_of_exchanging_a_place(before: Before, tmp_path: Path, names: str) -> None:
    """The second place is declared lost and a third takes its stead: each copy is remembered before it exists."""
    at, done = 0, False
    while not done:
        at += 1
        first, second = before.copy(tmp_path / "run")
        third = tmp_path / "run" / "third"
        third.mkdir()
        disk = Volatile([first, third], at, names=names)
        places = [Place(first, disk), Place(third, disk)]
        try:
            Keyring.open(places, before.root, fill_empty=True, lost=[second]).close()
            done = True
        except PowerLossError:
            pass
        disk.lose()
        places = [Place(first), Place(third)]
        if third.joinpath("snapshot").exists() or done:
            with pytest.raises(PlaceNotNamed):
                Keyring.open([Place(first), Place(second)], before.root)
        known = replicas.read_copy(Place(first), before.root)[1].places
        lost = [] if str(third) in known else [second]
        with Keyring.open(places, before.root, fill_empty=True, lost=lost) as ring:
            assert list(ring.status().lost) == [str(second)]
            assert set(ring.status().places.values()) == {"in step"}
            assert ring.key(before.keys[0].subject) == before.keys[0]
    assert at > 10


def test_power_lost_at_every_step_of_the_creation(before: Before, tmp_path: Path) -> None:
    """There is a whole key file, or none: never one that misses its second place."""
    at, done = 0, False
    while not done:
        at += 1
        directories = [tmp_path / "run" / name for name in ("first", "second")]
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        for directory in directories:
            directory.mkdir(parents=True)
        disk = Volatile(directories, at, names="lost")
        try:
            Keyring.create([Place(each, disk) for each in directories], before.root, None).close()
            done = True
        except PowerLossError:
            pass
        disk.lose()
        places = [Place(each) for each in directories]
        try:
            with Keyring.open(places, before.root) as ring:
                ring.new_subject_key()
        except KeyFileMissing:
            assert not done
    assert at > 10
