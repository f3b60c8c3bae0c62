"""The keyring: every subject's keys, in several places, one writer. What `sensmail-keyd` holds.

with Keyring.open([Place(first), Place(second)], root) as ring:
    key = ring.new_subject_key()                   # durable in both places before it is returned
    ring.destroy_subjects([key.subject]); ring.roll()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sensmail.keys import counter, remembered, replicas, roll, snapshot
from sensmail.keys.errors import KeyFileExists, PlaceUnreachable, RollIncomplete, TooManyKeys, VersionNotUsable
from sensmail.keys.journal import Journal
from sensmail.keys.lock import check_distinct, take_lock
from sensmail.keys.material import KEY_BYTES, SUBJECT_BYTES, KeyState, SubjectKey
from sensmail.keys.places import Place
from sensmail.keys.reading import ReadableRing
from sensmail.keys.recovery import Officers, officers_of
from sensmail.keys.replicas import Replicas
from sensmail.keys.roots import Root, Roots, as_tuple
from sensmail.keys.snapshot import Epoch
from sensmail.keys.state import MAX_ROWS, Act, Operation, State, pack, pack_places


class Keyring(ReadableRing):
    """An open key file. Methods may be called from several threads; reading never waits for writing."""

    def __init__(
        self, lock: int, roots: tuple[Root, ...], held: Replicas, state: State, numbers: counter.Counter
    ) -> None:
        super().__init__(held, state, numbers)
        self._lock, self._roots = lock, roots
        self._known: remembered.Places = state.places  # to be remembered; on disk with the next write

    @classmethod
    def create(cls, places: Sequence[Place], roots: Roots, officers: Officers | None) -> Keyring:
        """Make a new, empty key file in at least two places, wrapped by the last of the roots.

        Raises:
            KeyFileExists: a place holds one already. PlaceUnreachable, PlaceFull, RootError.
        """
        check_distinct(places)
        for place in places:
            if place.read(snapshot.NAME) is not None:
                raise KeyFileExists(f"{place}: holds a key file; open it, or name an empty directory")
        state, several = State(), as_tuple(roots)
        state.places = remembered.compare({}, places, ())
        lock = take_lock(places[0])
        try:
            epoch = Epoch(os.urandom(16), 1, os.urandom(KEY_BYTES))
            data = snapshot.seal(epoch, 0, state.encode())
            start = Journal.start(epoch, 0, data)
            wrapped = roll.wrap(epoch, several[-1], officers)
            roll.prepare(tuple(places), start, data, wrapped)
            numbers = counter.Counter(places[0], epoch.ring)
            numbers.write()
            for place in reversed(places):  # the first place last: it decides whether there is a key file
                place.publish(snapshot.NEW, snapshot.NAME)
        except BaseException:
            os.close(lock)
            raise
        return cls(lock, several, Replicas(places, start, wrapped), state, numbers)

    @classmethod
    def open(
        cls,
        places: Sequence[Place],
        roots: Roots,
        *,
        fill_empty: bool = False,
        issued: int | None = None,
        lost: Sequence[Path] = (),
        replaced: Sequence[Path] = (),
    ) -> Keyring:
        """Open the key file of the first place, which must answer; others may be missing, and then nothing is written.

        Args:
            places: the first leads.
            roots: the generations at hand, oldest to newest: the slot's root id says which opens, the newest wraps from
                now on. Or two officers.
            fill_empty: an empty place is a new one, to be filled; without it, it counts as not mounted.
            issued: the highest opening number that the records hold, where the counter is lost; at most
                `counter.MAX_AHEAD` above the snapshot's.
            lost: directories of places that were destroyed physically; the key file remembers the declaration.
            replaced: places that are empty because another disk stands there now; the one before is remembered as lost.

        Raises:
            PlaceNotNamed: a place that the key file remembers is neither in `places` nor in `lost`.
            Locked, and everything that `replicas.load`, `counter.load` and `counter.restore` name.
        """
        check_distinct(places)
        lock = take_lock(places[0])
        try:
            several = as_tuple(roots)
            held, state, fresh, known = replicas.load(
                places, several, fill_empty=fill_empty, lost=lost, replaced=replaced
            )
            if issued is None:
                numbers = counter.load(places[0], held.epoch.ring, state.openings)
            else:
                numbers = counter.restore(places[0], held.epoch.ring, state.openings, issued)
            ring = cls(lock, several, held, state, numbers)
            ring._known = known
            ring._unshared = frozenset(fresh) if held.behind else frozenset()
            try:
                ring._remember_places()
            except PlaceUnreachable:
                if lost or replaced:
                    raise  # a new place may wait: it is remembered, and filled, with the next write
        except BaseException:
            os.close(lock)
            raise
        return ring

    def close(self) -> None:
        """Release the lock. Keys leave memory as soon as Python frees them: best effort, not a promise."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

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
        """A new key version for each subject, closed ones too; the version before it becomes replaced.

        Raises:
            UnknownSubject, SubjectDestroyed, PlaceUnreachable, PlaceFull, Unusable.
        """
        with self._writing:
            return self._make([(each, self._count(each) + 1) for each in dict.fromkeys(subjects)])

    def adopt(self, subjects: Iterable[bytes]) -> list[SubjectKey]:
        """First keys for subjects whose ids exist elsewhere; who has keys is skipped. Returns what was made.

        Raises:
            SubjectDestroyed: an id stands on the list of tombstones; no key was made. PlaceUnreachable, PlaceFull.
        """
        with self._writing:
            new = [each for each in dict.fromkeys(subjects) if not self._state.count(each)]
            for each in new:
                if self._state.tombstone(each):
                    self._refuse(each)
                if not any(each):
                    raise ValueError("a subject id of zeros names nobody")
            return self._make([(each, 1) for each in new])

    def replace(self, subjects: Iterable[bytes]) -> list[SubjectKey]:
        """A new version for each subject that has no replaced one, so that a repeated call makes no third.

        Subjects that were destroyed meanwhile are skipped. Returns what was made.

        Raises:
            UnknownSubject: no version was made. PlaceUnreachable, PlaceFull, Unusable.
        """
        with self._writing:
            wanted = []
            for each in dict.fromkeys(subjects):
                count, before = self._state.newest(each)
                if count and before is not KeyState.REPLACED:
                    wanted.append((each, count + 1))
                elif not count and not self._state.tombstone(each):
                    self._refuse(each)
            return self._make(wanted)

    def retire_replaced(self) -> int:
        """Every replaced version of every subject is kept for restores only from now on. Returns how many.

        Raises:
            PlaceUnreachable, PlaceFull, Unusable: nothing has changed.
        """
        return self._change_all(KeyState.REPLACED, Act.RETIRE)

    def destroy_retired(self) -> int:
        """Drop every restore-only version of every subject. They are gone for good after the next `roll`.

        Raises:
            PlaceUnreachable, PlaceFull, Unusable: nothing has changed.
        """
        return self._change_all(KeyState.RESTORE_ONLY, Act.DESTROY_RETIRED)

    def close_subjects(self, subjects: Iterable[bytes]) -> None:
        """Their keys open nothing any more, until reopened."""
        now = int(time.time())
        self._change(subjects, lambda each: Operation(Act.CLOSE, each, now))

    def reopen_subjects(self, subjects: Iterable[bytes]) -> None:
        """Take a closure back."""
        self._change(subjects, lambda each: Operation(Act.REOPEN, each))

    def destroy_version(self, subject: bytes, version: int) -> None:
        """Drop one restore-only version. It is gone for good after the next `roll`.

        Raises:
            VersionNotUsable: an active or replaced version, which values may still need. UnknownSubject.
        """
        with self._writing:
            state = self._having(subject, version).state
            if state in {KeyState.ACTIVE, KeyState.REPLACED}:
                text = f"subject {subject.hex()}: key version {version} is {state.name.lower()}"
                raise VersionNotUsable(f"{text}; replace and retire it first")
            self._write([Operation(Act.DESTROY_VERSION, subject, version)])

    def destroy_subjects(self, subjects: Iterable[bytes]) -> None:
        """Drop all keys of these subjects and put up their tombstones. They are gone for good after the next `roll`."""
        now = int(time.time())
        self._change(subjects, lambda each: Operation(Act.DESTROY_SUBJECT, each, now))

    def roll(
        self, *, root: Root | None = None, officers: Officers | None = None, progress: roll.Progress = roll.silent
    ) -> int:
        """A new epoch; completes one that was left `destroying` first. Returns the new epoch's number.

        Args:
            root: a new generation, which wraps the new epoch key and those to come. Without it, the newest at hand.
            officers: encrypt it to these officers from now on; without it, to those of the slot that was opened.
            progress: told the phase that begins, see `roll`; must not raise.

        Raises:
            PlaceUnreachable, PlaceFull, RootError: nothing has changed.
            Damaged: the present slot is not the one that was opened or last rolled to.
            RollIncomplete: state `destroying`; roll again when the place is back.
        """
        with self._writing:
            held = self._replicas
            held.require_sound()
            self._remember_places()
            roll.finish(held, self._state, self._roots, progress)
            held.require_slot()
            with self._counting:
                self._state.openings = self._counter.issued  # may grow meanwhile; `release` never goes below this
            several = self._roots if root is None else (*(each for each in self._roots if each is not root), root)
            try:
                roll.begin(held, self._state, several[-1], officers or officers_of(held.slot.recovery), progress)
            except RollIncomplete:
                self._roots = several
                raise
            self._roots = several
            self._unshared = frozenset()
            roll.finish(held, self._state, several, progress)
            return held.epoch.number

    def reserve_openings(self, count: int) -> range:
        """Numbers for the next openings; see `counter.Counter.reserve`."""
        with self._counting:
            return self._counter.reserve(count)

    def settle_openings(self, through: int) -> None:
        """Every opening up to this number has its record."""
        with self._counting:
            self._counter.settle(through)

    def release_openings(self, through: int) -> None:
        """Before a clean stop: no number above this one was used, so none of them will need a record."""
        with self._counting:
            self._counter.release(through, self._state.openings)

    def unsettled_openings(self) -> range:
        """Numbers that may lack a record: after a start, find each record or write a void one."""
        return self._counter.unsettled()

    def _make(self, wanted: list[tuple[bytes, int]]) -> list[SubjectKey]:
        with self._writing:
            self._require_room(len(wanted))
            fresh = os.urandom(KEY_BYTES * len(wanted))
            keys = (fresh[at : at + KEY_BYTES] for at in range(0, len(fresh), KEY_BYTES))
            made = [SubjectKey(subject, version, key) for (subject, version), key in zip(wanted, keys, strict=True)]
            self._write([Operation(Act.NEW_KEY, each.subject, each.version, each.material) for each in made])
            return made

    def _require_room(self, count: int) -> None:
        """Raise TooManyKeys when so many more keys would go beyond what a key file may hold."""
        held = self._state.rows
        if held + count > MAX_ROWS:
            text = f"holds {held} key versions and tombstones, and at most {MAX_ROWS}; {count} more do not fit"
            raise TooManyKeys(f"{self._replicas.places[0]}: {text}; no key was made: find out who makes so many")

    def _change(self, subjects: Iterable[bytes], operation: Callable[[bytes], Operation]) -> None:
        with self._writing:
            wanted = list(dict.fromkeys(subjects))
            for each in wanted:
                self._count(each)
            self._write([operation(each) for each in wanted])

    def _change_all(self, state: KeyState, act: Act) -> int:
        with self._writing:
            count = self._state.states()[state]
            self._write([Operation(act)] if count else [])
            return count

    def _write(self, operations: list[Operation]) -> None:
        """One record: all of it is kept, or nothing."""
        with self._writing:
            if operations:
                self._remember_places()
                self._append(pack(operations))

    def _remember_places(self) -> None:
        if self._known != self._state.places:
            record = pack_places(self._known)
            self._replicas.remember(record)
            self._applied(record)

    def _append(self, record: bytes) -> None:
        self._replicas.append(record)
        self._applied(record)

    def _applied(self, record: bytes) -> None:
        self._state.apply(record, self._replicas.epoch.number)
        if not self._replicas.behind:
            self._unshared = frozenset()
