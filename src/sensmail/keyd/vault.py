"""Sealing and opening on the open key file. Keys of fields are derived for one call and forgotten with it.

`open`, `check`, `reseal` and `census` change nothing. Each key is derived once in a call, and the loops over values do
no more than cipher and compare: a reseal of a million values spends its time here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from uuid import UUID

from sensmail.fields import EnvelopeError, FieldKey, Header, Place, nonces, parse
from sensmail.keyd import errors
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.protocol import CENSUS_STATES, Opened, Resealed, Values
from sensmail.keys import KeyFailure, Keyring, KeyState
from sensmail.keys import errors as keys

PURPOSE = "field"  # of the keys of all values that the data map names; part of the format (docs/formats.md)
_VERSION = slice(0, 6)  # of an envelope: format, algorithm and key version
_ALTERED = errors.AlteredValue.code
K = TypeVar("K")
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

    def seal(self, values: Values) -> list[bytes]:
        """Envelopes, in order.

        Raises:
            KeyServiceError: nothing was sealed.
        """
        made: dict[bytes, FieldKey] = {}
        envelopes, fresh = [], nonces(len(values))
        try:
            for subject, field, row, value in values:
                key = made.get(subject)
                if key is None:
                    key = made[subject] = FieldKey.make(self._ring.key(subject), PURPOSE)
                envelopes.append(key.seal(Place(field, row), value, fresh))
        except KeyFailure as failure:
            raise translate(failure) from failure
        except EnvelopeError as error:
            raise errors.BadRequest(str(error)) from error
        return envelopes

    def refusals(self, subjects: Iterable[bytes]) -> dict[bytes, str]:
        """Why a subject's values open for nobody: closed, destroyed, unknown. The others are not in it."""
        found = {}
        for subject in set(subjects):
            try:
                self._ring.key(subject, 1, restoring=True)
            except keys.VersionNotUsable:
                pass
            except KeyFailure as failure:
                found[subject] = translate(failure).code
        return found

    def open(self, values: Values, refused: Mapping[bytes, str] | None = None) -> list[Opened]:
        """Values or refusals, in order. The record of it must be durable already.

        Args:
            values: what to open.
            refused: subjects whose values were recorded as refused, and why: none of them is opened.
        """

        def key_of(subject: bytes, header: Header) -> FieldKey:
            return FieldKey.make(self._ring.key(subject, header.key_version), PURPOSE, header.algorithm)

        opened, refusals = _each(values, key_of, FieldKey.open, refused or {})
        return [Opened(value, refusals.get(number, "")) for number, value in enumerate(opened)]

    def check(self, values: Values) -> list[str]:
        """Whether each opens at its place, closed subjects too: "" or the refusal."""

        def key_of(subject: bytes, header: Header) -> FieldKey:
            return FieldKey.make(self._ring.key(subject, header.key_version, closed=True), PURPOSE, header.algorithm)

        _, refusals = _each(values, key_of, _opens)
        return [refusals.get(number, "") for number in range(len(values))]

    def reseal(self, values: Values) -> Resealed:
        """New envelopes under the active versions; opens every version that is not destroyed, closed subjects too."""
        newest: dict[bytes, FieldKey] = {}
        fresh = nonces(len(values))

        def keys_of(subject: bytes, header: Header) -> tuple[FieldKey, FieldKey]:
            old = self._ring.key(subject, header.key_version, restoring=True, closed=True)
            new = newest.get(subject)
            if new is None:
                new = newest[subject] = FieldKey.make(self._ring.key(subject, closed=True), PURPOSE)
            known = (new.version, new.algorithm) == (old.version, header.algorithm)
            return new if known else FieldKey.make(old, PURPOSE, header.algorithm), new

        def reseal(pair: tuple[FieldKey, FieldKey], place: Place, envelope: bytes) -> bytes | None:
            old, new = pair
            value = old.open(place, envelope)
            return None if new is old else new.seal(place, value, fresh)

        return Resealed(*_each(values, keys_of, reseal))

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


def _opens(key: FieldKey, place: Place, envelope: bytes) -> None:
    key.open(place, envelope)


def _each(
    values: Values,
    prepare: Callable[[bytes, Header], K],
    act: Callable[[K, Place, bytes], T],
    refused: Mapping[bytes, str] | None = None,
) -> tuple[list[T | None], dict[int, str]]:
    """What `act` makes of each envelope, with what `prepare` made once of its subject and header; refusals by position.

    Args:
        values: envelopes at their places.
        prepare: may raise KeyFailure.
        act: may raise EnvelopeError.
        refused: subjects that are refused whatever they hold, and why.
    """
    made: dict[bytes, K | str] = {}
    results: list[T | None] = []
    refusals: dict[int, str] = {}
    known = refused or {}
    for number, (subject, field, row, envelope) in enumerate(values):
        result, refusal = None, known.get(subject, "")
        try:
            name = subject + envelope[_VERSION]
            key = refusal or made.get(name) or made.setdefault(name, _prepared(prepare, subject, parse(envelope)))
            if isinstance(key, str):
                refusal = key
            else:
                result = act(key, Place(field, row), envelope)
        except EnvelopeError:
            refusal = _ALTERED
        if refusal:
            refusals[number] = refusal
        results.append(result)
    return results, refusals


def _prepared(prepare: Callable[[bytes, Header], K], subject: bytes, header: Header) -> K | str:
    try:
        return prepare(subject, header)
    except KeyFailure as failure:
        return translate(failure).code
