"""What can be asked of an open key file. Nothing here writes, and giving out a key never waits for a writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NoReturn

from sensmail.keys.counter import Counter
from sensmail.keys.errors import PlaceUnreachable, SubjectClosed, SubjectDestroyed, UnknownSubject, VersionNotUsable
from sensmail.keys.material import KeyState, SubjectKey
from sensmail.keys.replicas import Replicas
from sensmail.keys.state import State, Tombstone
from sensmail.keys.status import Status, status


class ReadableRing:
    """The reading half of a keyring."""

    def __init__(self, held: Replicas, state: State, numbers: Counter) -> None:
        self._replicas, self._state, self._counter = held, state, numbers
        self._unshared: frozenset[bytes] = frozenset()  # subjects whose newest key other places may not have yet
        self._writing = threading.RLock()
        self._counting = threading.Lock()  # the counter's own: no opening waits for a roll; taken after _writing

    def key(
        self, subject: bytes, version: int | None = None, *, restoring: bool = False, closed: bool = False
    ) -> SubjectKey:
        """A key of a subject: the active version, or the one that an envelope names.

        Args:
            subject: 16 bytes.
            version: the version to open with, active or replaced; None for the active one, to seal with.
            restoring: also give a version that is kept for restores.
            closed: also give a key of a closed subject, for a pass that shows nobody a value.

        Raises:
            UnknownSubject, SubjectClosed, SubjectDestroyed, VersionNotUsable.
            PlaceUnreachable: no version was named, and the newest may never have been acknowledged: it seals nothing
                before the missing place has it. (An envelope that names a version proves that it was acknowledged.)
        """
        key = self._having(subject, version)
        if not closed and self._state.closed.get(subject):
            raise SubjectClosed(f"subject {subject.hex()}: closed; its values open nothing")
        if key.state is KeyState.DESTROYED or (key.state is KeyState.RESTORE_ONLY and not restoring):
            raise VersionNotUsable(f"subject {subject.hex()}: key version {key.version} is {key.state.name.lower()}")
        if version is None and subject in self._unshared:
            missing = ", ".join(str(each) for each in self._replicas.behind)
            raise PlaceUnreachable(f"subject {subject.hex()}: its newest key must be in {missing} first")
        return key

    def versions(self, subject: bytes) -> dict[int, KeyState]:
        """Every version of a subject's key and its state; empty for a subject without keys."""
        return {key.version: key.state for key in self._state.versions(subject)}

    def state_of(self, subject: bytes, version: int) -> KeyState | None:
        """The state of one key version; None for a subject or version that has no key (any more)."""
        return self._state.state(subject, version)

    def closed(self, subject: bytes) -> bool:
        """Whether the subject is closed."""
        return bool(self._state.closed.get(subject))

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
        with self._writing, self._counting:
            return status(self._replicas, self._state, self._counter)

    def _having(self, subject: bytes, version: int | None) -> SubjectKey:
        """One version, by default the last, which is the active one."""
        key = self._state.version(subject, version)
        if key is None:
            count = self._count(subject)
            raise UnknownSubject(f"subject {subject.hex()}: has no key version {version}, but {count} in all")
        return key

    def _count(self, subject: bytes) -> int:
        return self._state.count(subject) or self._refuse(subject)

    def _refuse(self, subject: bytes) -> NoReturn:
        if tombstone := self._state.tombstone(subject):
            raise SubjectDestroyed(f"subject {subject.hex()}: its keys were dropped in epoch {tombstone.epoch}")
        raise UnknownSubject(f"subject {subject.hex()}: no key was ever made for it in this key file")
