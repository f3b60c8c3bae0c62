"""The document is enough: a decoder written from it alone reads what the engine writes, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.fields import EnvelopeError, FieldKey, Place, row_key
from sensmail.keys.material import SubjectKey, derive


def _read(kind: str, value: str) -> UUID | int | str | bytes:
    readers: dict[str, Callable[[str], UUID | int | str | bytes]] = {
        "uuid": UUID,
        "bigint": int,
        "text": str,
        "bytea": bytes.fromhex,
    }
    return readers[kind](value)


def _decode(decoder: ModuleType, vector: dict[str, Any], envelope: bytes) -> bytes:
    value = decoder.open_envelope(
        envelope,
        bytes.fromhex(vector["subject_key"]),
        vector["key_version"],
        bytes.fromhex(vector["subject"]),
        vector["purpose"],
        vector["field_number"],
        decoder.row_key([tuple(column) for column in vector["row"]]),
    )
    assert isinstance(value, bytes)
    return value


def _field_key(vector: dict[str, Any]) -> FieldKey:
    subject, material = bytes.fromhex(vector["subject"]), bytes.fromhex(vector["subject_key"])
    return FieldKey.make(SubjectKey(subject, vector["key_version"], material), vector["purpose"])


def test_vectors(decoder: ModuleType, envelope_vectors: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine, decoder and vector agree byte for byte; the engine writes the vector when it draws the vector's nonce."""
    assert len(envelope_vectors) >= 5
    for vector in envelope_vectors:
        sealed, value = bytes.fromhex(vector["envelope"]), bytes.fromhex(vector["value"])
        row = row_key(*(_read(*column) for column in vector["row"]))
        place = Place(vector["field_number"], row)
        assert row.hex() == vector["row_key"]
        assert _decode(decoder, vector, sealed) == value
        assert _field_key(vector).open(place, sealed) == value
        monkeypatch.setattr("os.urandom", lambda length, nonce=sealed[6:18]: nonce[:length])
        assert _field_key(vector).seal(place, value) == sealed
        monkeypatch.undo()


def test_both_refuse_the_same_changes(decoder: ModuleType, envelope_vectors: list[dict[str, Any]]) -> None:
    for vector in envelope_vectors:
        sealed = bytes.fromhex(vector["envelope"])
        place = Place(vector["field_number"], bytes.fromhex(vector["row_key"]))
        for bit in range(0, len(sealed) * 8, 5):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(decoder.Refused):
                _decode(decoder, vector, bytes(changed))
            with pytest.raises(EnvelopeError):
                _field_key(vector).open(place, bytes(changed))


@given(
    material=st.binary(min_size=32, max_size=32),
    subject=st.binary(min_size=16, max_size=16),
    version=st.integers(1, 2**32 - 1),
    number=st.integers(1, 2**32 - 1),
    text=st.text(max_size=10),
    value=st.binary(max_size=100),
)
def test_decoder_reads_the_engine(
    decoder: ModuleType, material: bytes, subject: bytes, version: int, number: int, text: str, value: bytes
) -> None:
    place = Place(number, row_key(text, version))
    sealed = FieldKey.make(SubjectKey(subject, version, material), "mail.profile").seal(place, value)
    row = decoder.row_key([("text", text), ("bigint", str(version))])
    assert decoder.open_envelope(sealed, material, version, subject, "mail.profile", number, row) == value


def test_derivation_is_the_published_one() -> None:
    """RFC 5869, appendix A.3 (no salt, no info): the first 32 of its 42 bytes."""
    assert derive(b"\x0b" * 22, b"").hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
