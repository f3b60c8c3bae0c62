"""The text form: one text for an envelope and one envelope for a text, by engine and decoder alike."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensmail.fields import text
from sensmail.fields.text import NotSealedText

VECTORS = Path(__file__).parents[2] / "vectors" / "envelope_text.json"


def test_vectors(decoder: ModuleType) -> None:
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) >= 8
    for vector in vectors:
        envelope = bytes.fromhex(vector["envelope"])
        assert decoder.envelope_of_text(vector["text"]) == envelope
        assert text.pack(envelope).decode() == vector["text"]
        assert text.unpack(vector["text"].encode()) == envelope
        assert len(vector["text"]) == text.size(len(envelope)) >= text.SHORTEST


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_come_back(decoder: ModuleType, envelope: bytes) -> None:
    packed = text.pack(envelope)
    assert len(packed) == text.size(len(envelope))
    assert text.unpack(packed) == decoder.envelope_of_text(packed.decode()) == envelope


@given(st.binary(min_size=1, max_size=20), st.integers(0, 200), st.integers(1, 255))
def test_a_changed_text_is_another_envelope_or_none(decoder: ModuleType, envelope: bytes, at: int, flip: int) -> None:
    packed = bytearray(text.pack(envelope))
    packed[at % len(packed)] ^= flip
    try:
        found: bytes | None = text.unpack(bytes(packed))
    except NotSealedText:
        found = None
    try:
        theirs: bytes | None = decoder.envelope_of_text(packed.decode("latin-1"))
    except decoder.Refused:
        theirs = None
    assert found == theirs != envelope


@pytest.mark.parametrize(
    "wrong", ["", "sealed:v1:", "sealed:v1:A", "sealed:v1:AA==", "sealed:v1:AB", "sealed:v1:A+/A", "sealed:v2:AAAA",
              "sealed:v1:AAAA\n", " sealed:v1:AAAA", "sealed:v1:AA AA", "Sealed:v1:AAAA"],
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused(decoder: ModuleType, wrong: str) -> None:
    with pytest.raises(NotSealedText):
        text.unpack(wrong.encode())
    with pytest.raises(decoder.Refused):
        decoder.envelope_of_text(wrong)


@pytest.mark.parametrize(
    ("value", "claims"),
    [("sealed:v1:AAAA", True), ("sealed:v9:", True), ("sealed:v12:x", True), ("sealed:v:", False),
     ("sealed:vx:", False), ("sealed: my letter", False), ("", False), ("x sealed:v1:", False)],
)  # fmt: skip
def test_what_begins_like_a_sealed_text_is_never_plaintext(value: str, claims: bool) -> None:
    assert text.claims_sealed(value.encode()) is claims
