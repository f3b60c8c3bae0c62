"""The keyring: every subject's keys, in several places, one writer. What `sensmail-keyd` holds.

with Keyring.open([Place(first), Place(second)], root) as ring:
    key = ring.new_subject_key()                   # durable in both places before it is returned
    ring.destroy_subjects([key.subject]); ring.roll()
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from sensmail.keys import counter, replicas, roll, slot, snapshot
from sensmail.keys.errors import (
    KeyFileExists,
    PlaceUnreachable,
    RollIncomplete,
    SubjectClosed,
    SubjectDestroyed,
    UnknownSubject,
    VersionNotUsable,
)
from sensmail.keys.journal import Journal
from sensmail.keys.lock import check_distinct, take_lock
from sensmail.keys.material import KEY_BYTES, SUBJECT_BYTES, KeyState, SubjectKey
from sensmail.keys.places import Place
from sensmail.keys.recovery import Officers, officers_of
from sensmail.keys.replicas import Replicas
from sensmail.keys.roots import Root
from sensmail.keys.snapshot import Epoch
from sensmail.keys.state import Act, Operation, State, Tombstone, pack


@dataclass(frozen=True)
class Status:
    """What a report may show of a keyring."""

    ring: str
    epoch: int
    sequence: int
    destroying: bool  # an old epoch key, or the keys of a dropped subject, may still be readable somewhere
    recovery: bool  # officers can open it
    places: dict[str, str]  # "in step", or what is wrong


class Keyring:
    """An open key file. Methods may be called from several threads; reading never waits for writing."""

    def __init__(self, lock: int, root: Root, held: Replicas, state: State, numbers: counter.Counter) -> None:
        self._lock, self._root, self._replicas, self._state, self._counter = lock, root, held, state, numbers
        self._unshared: frozenset[bytes] = frozenset()  # subjects whose newest key other places may not have yet
        self._writing = threading.RLock()

    @classmethod
    def create(cls, places: Sequence[Place], root: Root, officers: Officers | None) -> Keyring:
        """Make a new, empty key file in at least two places.

        Raises:
            KeyFileExists: a place holds one already. PlaceUnreachable, PlaceFull, RootError.
        """
        check_distinct(places)
        for place in places:
            if place.read(snapshot.NAME) is not None:
                raise KeyFileExists(f"{place}: holds a key file; open it, or name an empty directory")
        lock = take_lock(places[0])
        try:
            epoch = Epoch(os.urandom(16), 1, os.urandom(KEY_BYTES))
            data = snapshot.seal(epoch, 0, State().encode())
            start = Journal.start(epoch, 0, data)
            roll.prepare(tuple(places), start, data, roll.wrap(epoch, root, officers))
            numbers = counter.Counter(places[0], epoch.ring)
            numbers.write()
            for place in reversed(places):  # the first place last: it decides whether there is a key file
                place.publish(snapshot.NEW, snapshot.NAME)
        except BaseException:
            os.close(lock)
            raise
        return cls(lock, root, Replicas(places, start), State(), numbers)

    @classmethod
    def open(
        cls, places: Sequence[Place], root: Root, *, fill_empty: bool = False, issued: int | None = None
    ) -> Keyring:
        """Open the key file of the first place, which must answer; others may be missing, and then nothing is written.

        Args:
            places: the first leads.
            root: the root key that wrapped the present epoch key, or two officers.
            fill_empty: an empty place is a new one, to be filled; without it, it counts as not mounted.
            issued: the highest opening number that the records hold, where the counter is lost.

        Raises:
            Locked, and everything that `replicas.load` and `counter.load` name.
        """
        check_distinct(places)
        lock = take_lock(places[0])
        try:
            held, state, fresh = replicas.load(places, root, fill_empty=fill_empty)
            if issued is None:
                numbers = counter.load(places[0], held.epoch.ring, state.openings)
            else:
                numbers = counter.Counter(places[0], held.epoch.ring, max(issued, state.openings), state.openings)
                numbers.write()
        except BaseException:
            os.close(lock)
            raise
        ring = cls(lock, root, held, state, numbers)
        ring._unshared = frozenset(fresh) if held.behind else frozenset()
        return ring

    def close(self) -> None:
        """Release the lock. Keys leave memory as soon as Python frees them: best effort, not a promise."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # reading

    def key(self, subject: bytes, version: int | None = None, *, restoring: bool = False) -> SubjectKey:
        """A key of a subject: the active version, or the one that an envelope names.

        Args:
            subject: 16 bytes.
            version: the version to give; None for the active one, to seal with.
            restoring: also give a version that is kept for restores.

        Raises:
            UnknownSubject, SubjectClosed, SubjectDestroyed, VersionNotUsable.
            PlaceUnreachable: no version was named, and the newest may never have been acknowledged: it seals nothing
                before the missing place has it. (An envelope that names a version proves that it was acknowledged.)
        """
        held = self._having(subject)
        if self._state.closed.get(subject):
            raise SubjectClosed(f"subject {subject.hex()}: closed; its values open nothing")
        key = _version(held, len(held) if version is None else version)
        if key.state is KeyState.DESTROYED or (key.state is KeyState.RESTORE_ONLY and not restoring):
            raise VersionNotUsable(f"subject {subject.hex()}: key version {key.version} is {key.state.name.lower()}")
        if version is None and subject in self._unshared:
            missing = ", ".join(str(each) for each in self._replicas.behind)
            raise PlaceUnreachable(f"subject {subject.hex()}: its newest key must be in {missing} first")
        return key

    def versions(self, subject: bytes) -> dict[int, KeyState]:
        """Every version of a subject's key and its state; empty for a subject without keys."""
        return {key.version: key.state for key in self._state.versions(subject)}

    def tombstone(self, subject: bytes) -> Tombstone | None:
        """The tombstone of a subject whose keys were dropped."""
        return self._state.tombstone(subject)

    def tombstones(self) -> Iterator[Tombstone]:
        """All of them, by subject id; a restore compares rows without a key with this list."""
        with self._writing:
            return self._state.all_tombstones()

    def destroyed(self, subject: bytes) -> bool:
        """Whether the keys of a dropped subject are gone from every place, so that a certificate may say so."""
        tombstone = self._state.tombstone(subject)
        return tombstone is not None and tombstone.epoch <= self._state.destroyed_through

    def subjects(self) -> Iterator[bytes]:
        """Ids of all subjects that have keys, in order."""
        with self._writing:
            return self._state.keys.subjects()

    def status(self) -> Status:
        """Where the key file stands; shows no key."""
        held, state = self._replicas, self._state
        wrapped = slot.parse(held.places[0].read(slot.name(held.epoch.number)), str(held.places[0]))
        return Status(
            ring=held.epoch.ring.hex(),
            epoch=held.epoch.number,
            sequence=held.journal.sequence,
            destroying=state.dropping or state.destroyed_through < held.epoch.number - 1,
            recovery=bool(wrapped.recovery),
            places={str(each): str(held.behind.get(each, "in step")) for each in held.places},
        )

    # writing

    def new_subject_key(self) -> SubjectKey:
        """A new subject with a random id and its first key, durable in every place before this returns.

        Raises:
            PlaceUnreachable, PlaceFull: no key was made. Unusable.
        """
        return self.new_subject_keys(1)[0]

    def new_subject_keys(self, count: int) -> list[SubjectKey]:
        """Several new subjects in one record, so with one sync a place: all of them are kept, or none."""
        return self._make([(os.urandom(SUBJECT_BYTES), 1) for _ in range(count)])

    def new_versions(self, subjects: Sequence[bytes]) -> list[SubjectKey]:
        """A new key version for each subject, closed ones too; the version before it becomes restore-only.

        Raises:
            UnknownSubject, SubjectDestroyed, PlaceUnreachable, PlaceFull, Unusable.
        """
        with self._writing:
            return self._make([(each, self._count(each) + 1) for each in dict.fromkeys(subjects)])

    def close_subjects(self, subjects: Iterable[bytes]) -> None:
        """Their keys open nothing any more, until reopened."""
        now = int(time.time())
        self._change(subjects, lambda each: Operation(Act.CLOSE, each, now))

    def reopen_subjects(self, subjects: Iterable[bytes]) -> None:
        """Take a closure back."""
        self._change(subjects, lambda each: Operation(Act.REOPEN, each))

    def destroy_version(self, subject: bytes, version: int) -> None:
        """Drop one replaced version. It is gone for good after the next `roll`.

        Raises:
            VersionNotUsable: the active version; make a new one first. UnknownSubject.
        """
        with self._writing:
            held = self._having(subject)
            if _version(held, version).state is KeyState.ACTIVE:
                raise VersionNotUsable(f"subject {subject.hex()}: key version {version} is active; replace it first")
            self._write([Operation(Act.DESTROY_VERSION, subject, version)])

    def destroy_subjects(self, subjects: Iterable[bytes]) -> None:
        """Drop all keys of these subjects and put up their tombstones. They are gone for good after the next `roll`."""
        now = int(time.time())
        self._change(subjects, lambda each: Operation(Act.DESTROY_SUBJECT, each, now))

    def roll(self, *, root: Root | None = None, officers: Officers | None = None) -> int:
        """A new epoch; completes one that was left `destroying` first. Returns the new epoch's number.

        Args:
            root: wrap the new epoch key by this root from now on.
            officers: encrypt it to these officers from now on; without it, to those of the present slot.

        Raises:
            PlaceUnreachable, PlaceFull, RootError: nothing has changed.
            RollIncomplete: state `destroying`; roll again when the place is back.
        """
        with self._writing:
            held = self._replicas
            held.require_sound()
            roll.finish(held, self._state, self._root)
            name = slot.name(held.epoch.number)
            wrapped = slot.parse(held.places[0].read(name), f"{held.places[0]}: {name}")
            self._state.openings = self._counter.issued
            try:
                roll.begin(held, self._state, root or self._root, officers or officers_of(wrapped.recovery))
            except RollIncomplete:
                self._root = root or self._root
                raise
            self._root = root or self._root
            self._unshared = frozenset()
            roll.finish(held, self._state, self._root)
            return held.epoch.number

    def reserve_openings(self, count: int) -> range:
        """Numbers for the next openings; see `counter.Counter.reserve`."""
        with self._writing:
            return self._counter.reserve(count)

    def settle_openings(self, through: int) -> None:
        """Every opening up to this number has its record."""
        with self._writing:
            self._counter.settle(through)

    def unsettled_openings(self) -> range:
        """Numbers that may lack a record: after a start, find each record or write a void one."""
        return self._counter.unsettled()

    def _make(self, wanted: list[tuple[bytes, int]]) -> list[SubjectKey]:
        made = [SubjectKey(subject, version, os.urandom(KEY_BYTES)) for subject, version in wanted]
        self._write([Operation(Act.NEW_KEY, each.subject, each.version, each.material) for each in made])
        return made

    def _change(self, subjects: Iterable[bytes], operation: Callable[[bytes], Operation]) -> None:
        with self._writing:
            wanted = list(dict.fromkeys(subjects))
            for each in wanted:
                self._count(each)
            self._write([operation(each) for each in wanted])

    def _write(self, operations: list[Operation]) -> None:
        """One record: all of it is kept, or nothing."""
        with self._writing:
            record = pack(operations)
            self._replicas.append(record)
            self._state.apply(record, self._replicas.epoch.number)
            self._unshared = frozenset()

    def _having(self, subject: bytes) -> list[SubjectKey]:
        return self._state.versions(subject) or self._refuse(subject)

    def _count(self, subject: bytes) -> int:
        return self._state.count(subject) or self._refuse(subject)

    def _refuse(self, subject: bytes) -> NoReturn:
        if tombstone := self._state.tombstone(subject):
            raise SubjectDestroyed(f"subject {subject.hex()}: its keys were dropped in epoch {tombstone.epoch}")
        raise UnknownSubject(f"subject {subject.hex()}: no key was ever made for it in this key file")


def _version(held: list[SubjectKey], version: int) -> SubjectKey:
    if not 1 <= version <= len(held):
        raise UnknownSubject(f"subject {held[0].subject.hex()}: has no key version {version}, but {len(held)} in all")
    return held[version - 1]
