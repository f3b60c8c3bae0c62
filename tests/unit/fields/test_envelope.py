"""Envelope v1: opens in its own place under its own key, and nowhere else."""

from __future__ import annotations

import dataclasses
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensmail.fields import (
    ALGORITHMS,
    OVERHEAD,
    Altered,
    EnvelopeError,
    FieldKey,
    InvalidPlace,
    Place,
    TooLong,
    Truncated,
    UnknownAlgorithm,
    UnknownVersion,
    WrongKey,
    envelope,
    nonces,
    parse,
    row_key,
)
from sensmail.keys.material import SubjectKey

KEY = SubjectKey(bytes(range(16)), 7, bytes(range(32)))
PLACE = Place(12, row_key(UUID(int=5)))
VALUE = "홍길동 hong@example.test".encode()

subjects = st.binary(min_size=16, max_size=16)
materials = st.binary(min_size=32, max_size=32)
versions = st.integers(1, 2**32 - 1)
keys = st.builds(SubjectKey, subjects, versions, materials)
parts = st.one_of(st.uuids(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=20))
rows = st.lists(parts, min_size=1, max_size=4).map(lambda each: row_key(*each))
places = st.builds(Place, st.integers(1, 2**32 - 1), rows)
purposes = st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True)


@given(key=keys, place=places, purpose=purposes, value=st.binary(max_size=300))
def test_a_value_opens_in_its_place(key: SubjectKey, place: Place, purpose: str, value: bytes) -> None:
    field_key = FieldKey.make(key, purpose)
    sealed = field_key.seal(place, value)
    assert field_key.open(place, sealed) == value
    assert len(sealed) == len(value) + OVERHEAD
    assert parse(sealed).key_version == key.version


@given(key=keys, place=places, purpose=purposes, value=st.binary(max_size=40), data=st.data())
def test_a_moved_value_is_refused(
    key: SubjectKey, place: Place, purpose: str, value: bytes, data: st.DataObject
) -> None:
    sealed = FieldKey.make(key, purpose).seal(place, value)
    other = data.draw(st.tuples(keys, places, purposes))
    moved = {
        "row": (key, Place(place.field_number, other[1].row), purpose),
        "field": (key, Place(other[1].field_number, place.row), purpose),
        "subject": (dataclasses.replace(key, subject=other[0].subject), place, purpose),
        "purpose": (key, place, other[2]),
        "key": (dataclasses.replace(key, material=other[0].material), place, purpose),
    }
    for to_key, to_place, to_purpose in moved.values():
        if (to_key, to_place, to_purpose) == (key, place, purpose):
            continue  # Hypothesis drew the same value twice
        with pytest.raises(Altered):
            FieldKey.make(to_key, to_purpose).open(to_place, sealed)


@pytest.mark.parametrize("value", [b"", b"\x00", VALUE], ids=["empty", "one byte", "text"])
def test_every_single_bit_change_is_refused(value: bytes) -> None:
    field_key = FieldKey.make(KEY, "profile")
    sealed = field_key.seal(PLACE, value)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            field_key.open(PLACE, bytes(changed))


def test_the_header_is_authenticated_and_not_only_compared() -> None:
    """A key that agrees with a changed header still refuses it: the version is bound, not just looked at."""
    sealed = bytearray(FieldKey.make(KEY, "profile").seal(PLACE, VALUE))
    sealed[5] ^= 1
    same_material = dataclasses.replace(KEY, version=KEY.version ^ 1)
    with pytest.raises(Altered):
        FieldKey.make(same_material, "profile").open(PLACE, bytes(sealed))


@pytest.mark.parametrize("length", range(len(VALUE) + OVERHEAD))
def test_every_truncation_is_refused(length: int) -> None:
    field_key = FieldKey.make(KEY, "profile")
    expected = Truncated if length < OVERHEAD else Altered
    with pytest.raises(expected):
        field_key.open(PLACE, field_key.seal(PLACE, VALUE)[:length])


@settings(max_examples=500)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda tail: b"\x01\x01\x00\x00\x00\x07" + tail)))
def test_arbitrary_bytes_only_get_the_named_error(garbage: bytes) -> None:
    with pytest.raises(EnvelopeError):
        FieldKey.make(KEY, "profile").open(PLACE, garbage)


def test_each_refusal_has_its_name() -> None:
    field_key = FieldKey.make(KEY, "profile")
    sealed = field_key.seal(PLACE, VALUE)
    with pytest.raises(UnknownVersion, match="version 2"):
        parse(b"\x02" + sealed[1:])
    for number in set(range(256)) - set(ALGORITHMS):
        with pytest.raises(UnknownAlgorithm, match=f"algorithm {number} "):
            field_key.open(PLACE, sealed[:1] + bytes([number]) + sealed[2:])
    with pytest.raises(WrongKey, match=r"version 7 .* the key is 8"):
        FieldKey.make(dataclasses.replace(KEY, version=8), "profile").open(PLACE, sealed)
    with pytest.raises(WrongKey, match="version 0"):
        parse(sealed[:2] + bytes(4) + sealed[6:])
    with pytest.raises(Truncated, match="found 0"):
        parse(b"")


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    field_key = FieldKey.make(KEY, "profile")
    sealed = field_key.seal(PLACE, VALUE)
    monkeypatch.setattr(envelope, "MAX_PLAINTEXT", len(VALUE) - 1)
    with pytest.raises(TooLong):
        field_key.seal(PLACE, VALUE)
    with pytest.raises(TooLong):
        field_key.open(PLACE, sealed)


def test_a_key_of_another_algorithm_is_never_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is data: a second algorithm has its own field keys, and neither opens the other's envelopes."""
    second = dataclasses.replace(envelope.AES_256_GCM, number=200, name="second")
    with pytest.raises(UnknownAlgorithm, match=r"200 \(second\) is not in the registry"):
        FieldKey.make(KEY, "profile", second)
    monkeypatch.setitem(ALGORITHMS, 200, second)
    sealed = FieldKey.make(KEY, "profile", second).seal(PLACE, VALUE)
    assert sealed[1] == 200
    with pytest.raises(WrongKey, match="by second"):
        FieldKey.make(KEY, "profile").open(PLACE, sealed)
    with pytest.raises(WrongKey, match="AES-256-GCM"):
        FieldKey.make(KEY, "profile", second).open(PLACE, FieldKey.make(KEY, "profile").seal(PLACE, VALUE))
    with pytest.raises(Altered):
        FieldKey.make(KEY, "profile").open(PLACE, sealed[:1] + b"\x01" + sealed[2:])


def test_nonces_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda length: b"n" * length)
    assert FieldKey.make(KEY, "profile").seal(PLACE, VALUE)[6:18] == b"n" * 12
    monkeypatch.undo()
    field_key = FieldKey.make(KEY, "profile")
    assert len({field_key.seal(PLACE, VALUE)[6:18] for _ in range(1000)}) == 1000


@pytest.mark.parametrize("at_once", [0, 1, 7, 1000])
def test_nonces_drawn_at_once_are_given_out_once(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    field_key, fresh = FieldKey.make(KEY, "profile"), nonces(at_once)
    sealed = [field_key.seal(PLACE, VALUE, fresh) for _ in range(1000)]
    assert len({each[6:18] for each in sealed}) == 1000
    assert [field_key.open(PLACE, each) for each in sealed] == [VALUE] * 1000
    monkeypatch.setattr("os.urandom", lambda length: b"n" * length)
    assert next(nonces(at_once)) == b"n" * 12


def test_row_keys_never_collide() -> None:
    """Different keys, in type, value or number of columns, have different bytes."""
    alike: list[tuple[UUID | int | str | bytes, ...]]
    alike = [(1,), ("1",), (b"1",), (UUID(int=1),), (UUID(int=1).bytes,), ("1", ""), ("", "1"), ("a", "b"), ("ab",)]
    alike += [("a", "b", ""), (0,), (-1,), (2**63 - 1,), (-(2**63),), (UUID(int=0),)]
    assert len({row_key(*each) for each in alike}) == len(alike)


@given(st.lists(st.lists(parts, min_size=1, max_size=3).map(tuple), min_size=2, max_size=5, unique_by=repr))
def test_row_keys_are_injective(many: list[tuple[UUID | int | str | bytes, ...]]) -> None:
    assert len({row_key(*each) for each in many}) == len(many)


@pytest.mark.parametrize(
    "wrong", [(), (1.5,), (True,), (2**63,), ("x" * 70000,), tuple(range(256)), (None,), ("\ud800",)]
)
def test_what_cannot_be_a_row_key(wrong: tuple[int, ...]) -> None:
    with pytest.raises(InvalidPlace):
        row_key(*wrong)


@pytest.mark.parametrize("purpose", ["", "Profile", "1st", "a b", "a" * 65, "이름", "a\n"])
def test_what_cannot_be_a_purpose(purpose: str) -> None:
    with pytest.raises(InvalidPlace):
        FieldKey.make(KEY, purpose)


@pytest.mark.parametrize("place", [Place(0, b"x"), Place(2**32, b"x"), Place(1, b""), Place(1, bytes(2**16))])
def test_what_cannot_be_a_place(place: Place) -> None:
    with pytest.raises(InvalidPlace):
        FieldKey.make(KEY, "profile").seal(place, VALUE)


def test_no_key_and_no_value_is_shown() -> None:
    key = SubjectKey(b"s" * 16, 1, b"SECRETSECRETSECRETSECRETSECRETSE")
    field_key = FieldKey.make(key, "profile")
    shown = repr(key) + repr(field_key) + str(field_key)
    with pytest.raises(EnvelopeError) as caught:
        field_key.open(PLACE, FieldKey.make(KEY, "profile").seal(PLACE, VALUE))
    shown += str(caught.value) + repr(caught.value)
    with pytest.raises(ValueError, match="subject key") as refused:
        SubjectKey(b"s", 1, b"SECRET")
    assert "SECRET" not in shown + str(refused.value)
    assert "홍길동" not in shown
