"""Sealing and opening on the open key file. Keys of fields are derived for one call and forgotten with it.

`open`, `check`, `reseal` and `census` change nothing. The values of one call are grouped by subject and key version, so
that each key is derived once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

from sensmail.fields import EnvelopeError, FieldKey, Place, parse
from sensmail.keyd import errors
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.protocol import CENSUS_STATES, Opened, Resealed, Sealed, Sealing
from sensmail.keys import KeyFailure, Keyring, KeyState, SubjectKey
from sensmail.keys import errors as keys

PURPOSE = "field"  # of the keys of all values that the data map names; part of the format (docs/formats.md)
_VERSION = slice(0, 6)  # of an envelope: format, algorithm and key version
_UNCHANGED = Resealed(None)
T = TypeVar("T")
_ERRORS: dict[type[KeyFailure], type[KeyServiceError]] = {
    keys.UnknownSubject: errors.UnknownSubject,
    keys.SubjectClosed: errors.Closed,
    keys.SubjectDestroyed: errors.Destroyed,
    keys.VersionNotUsable: errors.Retired,
    keys.RollIncomplete: errors.RollIncomplete,
}


def translate(failure: KeyFailure) -> KeyServiceError:
    """What a caller is told of a failure of the key file. A place or root that does not answer is temporary."""
    return _ERRORS.get(type(failure), errors.Unavailable)(str(failure))


class Vault:
    """Values in, values out."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring

    def seal(self, items: Sequence[Sealing]) -> list[bytes]:
        """Envelopes, in order.

        Raises:
            KeyServiceError: nothing was sealed.
        """
        made: dict[int, FieldKey] = {}
        envelopes = []
        try:
            for item in items:
                key = made.get(item.subject.int)
                if key is None:
                    key = made[item.subject.int] = FieldKey.make(self._ring.key(item.subject.bytes), PURPOSE)
                envelopes.append(key.seal(Place(item.field, item.row), item.value))
        except KeyFailure as failure:
            raise translate(failure) from failure
        except EnvelopeError as error:
            raise errors.BadRequest(str(error)) from error
        return envelopes

    def refusals(self, subjects: Iterable[UUID]) -> dict[UUID, str]:
        """Why a subject's values open for nobody: closed, destroyed, unknown. The others are not in it."""
        found = {}
        for subject in set(subjects):
            try:
                self._ring.key(subject.bytes, 1, restoring=True)
            except keys.VersionNotUsable:
                pass
            except KeyFailure as failure:
                found[subject] = translate(failure).code
        return found

    def open(self, items: Sequence[Sealed], refused: Mapping[UUID, str] | None = None) -> list[Opened]:
        """Values or refusals, in order. The record of it must be durable already.

        Args:
            items: what to open.
            refused: subjects whose values were recorded as refused, and why: none of them is opened.
        """
        known = refused or {}
        opening = [each for each in items if each.subject not in known]
        opened = iter(self._each(opening, self._ring.key, _open, lambda code: Opened(None, code)))
        return [Opened(None, known[each.subject]) if each.subject in known else next(opened) for each in items]

    def check(self, items: Sequence[Sealed]) -> list[str]:
        """Whether each opens at its place, closed subjects too: "" or the refusal."""
        return self._each(items, partial(self._ring.key, closed=True), _check, lambda code: code)

    def reseal(self, items: Sequence[Sealed]) -> list[Resealed]:
        """New envelopes under the active versions; opens every version that is not destroyed, closed subjects too."""
        active: dict[int, FieldKey] = {}

        def reseal(key: FieldKey, item: Sealed) -> Resealed:
            new = active.get(item.subject.int)
            if new is None:
                found = self._ring.key(item.subject.bytes, closed=True)
                new = active[item.subject.int] = key if found.version == key.version else FieldKey.make(found, PURPOSE)
            place = Place(item.field, item.row)
            value = key.open(place, item.envelope)
            return _UNCHANGED if new.version == key.version else Resealed(new.seal(place, value))

        return self._each(
            items, partial(self._ring.key, restoring=True, closed=True), reseal, lambda code: Resealed(None, code)
        )

    def census(self, pairs: Iterable[tuple[UUID, int]]) -> dict[str, int]:
        """How many of these (subject, key version) are in which state."""
        counts = dict.fromkeys(CENSUS_STATES, 0)
        names = {state: state.name.lower() for state in KeyState}
        for subject, version in pairs:
            state = self._ring.state_of(subject.bytes, version)
            if state is not None:
                counts[names[state]] += 1
            else:
                counts["tombstone" if self._ring.tombstone(subject.bytes) else "unknown"] += 1
        return counts

    def _each(
        self,
        items: Sequence[Sealed],
        key_of: Callable[[bytes, int], SubjectKey],
        act: Callable[[FieldKey, Sealed], T],
        refuse: Callable[[str], T],
    ) -> list[T]:
        """`act` on each item with the key that its envelope names; the keys are derived once."""
        made: dict[tuple[int, bytes], FieldKey | str] = {}  # by number: hashing a UUID is slow
        results = []
        for item in items:
            wanted = item.subject.int, item.envelope[_VERSION]
            key = made.get(wanted)
            if key is None:
                key = made[wanted] = _make(key_of, item)
            if isinstance(key, str):
                results.append(refuse(key))
                continue
            try:
                results.append(act(key, item))
            except EnvelopeError:
                results.append(refuse(errors.AlteredValue.code))
            except KeyFailure as failure:
                results.append(refuse(translate(failure).code))
        return results


def _make(key_of: Callable[[bytes, int], SubjectKey], item: Sealed) -> FieldKey | str:
    try:
        header = parse(item.envelope)
        return FieldKey.make(key_of(item.subject.bytes, header.key_version), PURPOSE, header.algorithm)
    except EnvelopeError:
        return errors.AlteredValue.code
    except KeyFailure as failure:
        return translate(failure).code


def _open(key: FieldKey, item: Sealed) -> Opened:
    return Opened(key.open(Place(item.field, item.row), item.envelope))


def _check(key: FieldKey, item: Sealed) -> str:
    key.open(Place(item.field, item.row), item.envelope)
    return ""
