"""Signed notes and cosignatures: read strictly, verified wholly, and understood by an independent implementation."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sensmail.records import note
from sensmail.records.cosignature import cosign, cosigned, witness_key
from sensmail.records.errors import Malformed, NotProven, RecordsError
from sensmail.records.note import Note, Signature, VerifierKey
from unit.records.conftest import Peer, Signing

# The examples of the specifications signed-note and sumdb/note.
EXAMPLE = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihA\
QwaqP3ZekRwNtIc=
""".encode()
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
""".encode()
KEY = Ed25519PrivateKey.generate()
NAME = "log.example/records"
VERIFIER = VerifierKey(NAME, note.public_bytes(KEY))
SIGNED = note.sign("one\n\ntwo\n", NAME, [KEY])


def test_a_note_of_the_specification_is_read_and_written_back() -> None:
    found = note.parse(EXAMPLE)
    assert found.text.endswith("\n\ned è subito sera.\n")
    assert [each.name for each in found.signatures] == ["quasimodo.example/salvatore"]
    assert found.to_bytes() == EXAMPLE


def test_a_foreign_note_verifies_by_its_verifier_key() -> None:
    key = VerifierKey.from_text(PETER)
    note.verify(note.parse(PETER_NOTE), [key])
    assert key.to_text() == PETER


def test_the_independent_implementation_verifies_ours_and_signs_for_us(peer: Peer, signing: Signing) -> None:
    signed = signing.signed(signing.body())
    keys = [signing.log_key.to_text(), VerifierKey(signing.origin, signing.public[0]).to_text()]
    answer = peer(Note=signed.to_bytes(), Keys=keys, Name="peer.example/한글", Text="text\n")
    assert (answer["Text"], answer["Signatures"], answer["Errors"]) == (signed.text, 2, None)
    theirs = note.parse(base64.b64decode(answer["Note"]))
    note.verify(theirs, [VerifierKey.from_text(answer["Key"])])
    assert theirs.text == "text\n"


def test_every_named_key_must_have_signed() -> None:
    note.verify(SIGNED, [VERIFIER])
    other = VerifierKey(NAME, note.public_bytes(Ed25519PrivateKey.generate()))
    with pytest.raises(NotProven, match="no signature"):
        note.verify(SIGNED, [VERIFIER, other])


def test_a_second_signature_of_a_known_key_must_hold_as_well() -> None:
    false = Signature(NAME, VERIFIER.key_id, bytes(64))
    with pytest.raises(NotProven, match="does not verify"):
        note.verify(Note(SIGNED.text, (*SIGNED.signatures, false)), [VERIFIER])


def test_unknown_signatures_are_ignored() -> None:
    foreign = Signature("other", b"abcd", b"x")
    note.verify(note.parse(Note(SIGNED.text, (foreign, *SIGNED.signatures)).to_bytes()), [VERIFIER])


@given(st.integers(0, len(SIGNED.text.encode()) - 1), st.integers(1, 255))
def test_a_changed_text_never_verifies(at: int, change: int) -> None:
    data = bytearray(SIGNED.to_bytes())
    data[at] ^= change
    with pytest.raises(RecordsError):
        note.verify(note.parse(bytes(data)), [VERIFIER])


GOOD = SIGNED.to_bytes()
LINE = SIGNED.signatures[0].line().encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"text\n", b"text\n\n", GOOD[:-1], GOOD + b"\n", GOOD + b"x\n", GOOD.replace(b"two", b"t\0o"),
        GOOD.replace(b"two", b"t\ro"), GOOD.replace(b"two", b"t\xffo"), b"text\n\n- x QUJDREU=\n",
        "text\n\n— x+y QUJDREVG\n".encode(), "text\n\n— x QUJDREVG \n".encode(), "text\n\n—  QUJDREVG\n".encode(),
        "text\n\n— x QUJDRA==\n".encode(), "text\n\n— x QUJDREV=\n".encode(), "text\n\n— x QUJDREU\n".encode(),
        "text\n\n— x\u00a0y QUJDREVG\n".encode(), b"text\n\n" + LINE * 101, b"x" * 300_000 + GOOD,
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        note.parse(data)


def test_up_to_a_hundred_signatures_are_read() -> None:
    assert len(note.parse(b"text\n\n" + LINE * 100).signatures) == 100


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(Malformed):
        assert note.parse(data).to_bytes() == data


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_lines_are_read_or_refused(text: str, tail: str) -> None:
    data = f"{text}\n\n— {tail}\n".encode(errors="replace")
    with suppress(Malformed):
        assert note.parse(data).to_bytes() == data


@pytest.mark.parametrize(
    "text",
    ["", "a+b", "a+00000000+AQ==", PETER[:-4], PETER.replace("c7", "c8"), PETER.replace("Peter", "Pet r"), PETER + "="],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        VerifierKey.from_text(text)


def test_the_key_of_a_witness_is_not_taken_for_that_of_a_log() -> None:
    witness = witness_key("w.example", note.public_bytes(KEY)).to_text()
    with pytest.raises(Malformed):
        VerifierKey.from_text(witness)
    assert VerifierKey.from_text(witness, kind=4).to_text() == witness


def test_a_cosignature_says_when(signing: Signing) -> None:
    checkpoint = signing.signed(signing.body())
    witness = witness_key("w.example", note.public_bytes(KEY))
    both = [cosign(checkpoint.text, "w.example", KEY, time) for time in (1_764_000_100, 1_764_000_050)]
    assert cosigned(Note(checkpoint.text, (*checkpoint.signatures, *both)), witness) == 1_764_000_100
    with pytest.raises(NotProven, match="no cosignature"):
        cosigned(checkpoint, witness)


@pytest.mark.parametrize("change", [b"\1", b"\0" * 7 + b"\1" + b"\0" * 64])
def test_a_cosignature_binds_time_and_text(signing: Signing, change: bytes) -> None:
    checkpoint = signing.signed(signing.body())
    witness = witness_key("w.example", note.public_bytes(KEY))
    made = cosign(checkpoint.text, "w.example", KEY, 1_764_000_000)
    changed = bytes(a ^ b for a, b in zip(made.signature, change.ljust(72, b"\0"), strict=True))
    with pytest.raises((NotProven, Malformed)):
        cosigned(Note(checkpoint.text, (Signature("w.example", made.key_id, changed),)), witness)
    with pytest.raises(NotProven):
        cosigned(Note(checkpoint.text.replace("access", "acces5"), (made,)), witness)
    with pytest.raises(Malformed):
        cosigned(Note(checkpoint.text, (Signature("w.example", made.key_id, made.signature[:-1]),)), witness)
