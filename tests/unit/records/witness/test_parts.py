"""Parts of the witness that need no process: the parser, the file of notes, alarms, keys."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensmail.records import checkpoint, cosignature, note
from sensmail.records.cosignature import witness_key
from sensmail.records.errors import Malformed
from sensmail.records.note import Note
from sensmail.records.witness import keys, store, submission, watch
from sensmail.records.witness import settings as witness_settings
from sensmail.records.witness.errors import StoreDamaged, WitnessFailure
from sensmail.records.witness.log import Signer
from sensmail.records.witness.store import CUT_OFF, NoteFile
from sensmail.records.witness.watch import Seen
from unit.records.witness.conftest import START, Book

BOOK = Book()
BODY = BOOK.given(3, 11).to_bytes()
SIGNER = Signer("witness.example/w1", Ed25519PrivateKey.generate())


def cosigned(size: int) -> Note:
    made = BOOK.note(size)
    return Note(made.text, (*made.signatures, SIGNER.cosign(made.text, START)))


NOTES = [cosigned(size) for size in (3, 7, 11)]
WHOLE = b"".join(each.to_bytes() + b"\n" for each in NOTES)


def verify(given: Note) -> None:
    checkpoint.verify(given, BOOK.log_key)
    cosignature.cosigned(given, SIGNER.key)


def test_a_submission_is_read_back() -> None:
    assert submission.parse(BODY).to_bytes() == BODY


@given(st.integers(0, len(BODY)), st.integers(0, 6), st.binary(max_size=6))
def test_a_changed_submission_is_refused_or_read_as_it_stands(at: int, cut: int, put: bytes) -> None:
    data = BODY[:at] + put + BODY[at + cut :]
    with suppress(Malformed):
        assert submission.parse(data).to_bytes() == data


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(Malformed):
        submission.parse(b"old 0\n" + data)


@given(at=st.integers(0, len(WHOLE)), again=st.integers(0, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_a_file_cut_anywhere_goes_on(tmp_path: Path, at: int, again: int) -> None:
    """A crash in the middle of a note, and another one in the middle of the next."""
    path = tmp_path / "notes"
    path.write_bytes(WHOLE[:at])
    before = list(store.read(path))
    assert before == [each.to_bytes() for each in NOTES[: len(before)]]
    file = NoteFile(path, verify)
    last = file.last()
    assert last == (NOTES[len(before) - 1] if before else None)
    file.add(NOTES[0])
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + NOTES[1].to_bytes()[:again])
    file = NoteFile(path, verify)
    assert file.last() == NOTES[0]
    file.add(NOTES[2])
    assert list(store.read(path)) == [*before, NOTES[0].to_bytes(), NOTES[2].to_bytes()]
    assert path.read_bytes()[whole + again :].startswith(CUT_OFF if again else NOTES[2].to_bytes())


def test_the_end_of_a_long_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(WHOLE * 100)
    assert NoteFile(path, verify).last() == NOTES[2]
    path.write_bytes(WHOLE * 100 + WHOLE[:100])
    file = NoteFile(path, verify)
    assert file.last() == NOTES[2]
    file.add(NOTES[0])
    assert NoteFile(path, verify).last() == NOTES[0]
    path.write_bytes(WHOLE * 100 + bytes(100_000))
    with pytest.raises(StoreDamaged):
        NoteFile(path, verify).last()


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_byte_of_the_last_note_is_found_or_counts_as_cut_off(tmp_path: Path, at: int, byte: int) -> None:
    data = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    path = tmp_path / "notes"
    path.write_bytes(data)
    with suppress(StoreDamaged):
        assert NoteFile(path, verify).last() in NOTES


def seen(**change: int) -> Seen:
    return Seen(replace(BOOK.body(7, time=START), time=change.get("time", START)), change.get("cosigned", START))


@pytest.mark.parametrize(
    ("what", "now", "says"),
    [
        (seen(), START + 900, []), (seen(), START + 901, ["silent for 15 minutes"]),
        (None, START, ["no checkpoint yet"]),
        (seen(cosigned=START + 120), START + 130, []), (seen(cosigned=START + 121), START + 130, ["behind"]),
        (seen(time=START + 121), START, ["ahead of"]),
        # stamped for tomorrow, so that nobody notices the silence
        (seen(time=START + 86400), START + 901, ["silent", "ahead of"]),
        # the same old one again and again
        (seen(cosigned=START + 5000), START + 5000, ["silent", "behind"]),
    ],
)  # fmt: skip
def test_alarms(what: Seen | None, now: int, says: list[str]) -> None:
    found = list(watch.alarms(BOOK.origin, what, now))
    assert len(found) == len(says), found
    for said, wanted in zip(found, says, strict=True):
        assert wanted in said
        assert said.startswith("mail.example.go.kr/records/access/1: ")


def test_keys_are_made_once(tmp_path: Path, plain_credentials: None) -> None:
    assert keys.ensure(tmp_path, "w.example", used=False, check=True)[0] is None
    assert list(tmp_path.glob("witness-*")) == []
    made, steps = keys.ensure(tmp_path, "w.example", used=False)
    assert len(steps) == 2
    assert keys.ensure(tmp_path, "w.example", used=True) == (made, [])
    assert (tmp_path / keys.SIGNING).stat().st_mode & 0o777 == 0o600
    assert made is not None
    assert made.key == witness_key("w.example", note.public_bytes(keys.signing_key(tmp_path))).to_text()
    with pytest.raises(WitnessFailure, match="belongs to the key"):
        keys.ensure(tmp_path, "other.example", used=True)
    (tmp_path / keys.SIGNING).unlink()
    with pytest.raises(WitnessFailure, match="missing"):
        keys.ensure(tmp_path, "w.example", used=True)


def test_settings_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "witness.toml"
    good = f'name = "w"\nlisten = ["::"]\nport = 8443\nsame_controller = true\nlogs = ["{BOOK.log_key.to_text()}"]\n'
    path.write_text(good)
    assert witness_settings.load(path).log_keys() == [BOOK.log_key]
    for bad in (good.replace("8443", "0"), good + "x = 1\n", good.replace('"w"', "3"), "[", ""):
        path.write_text(bad)
        with pytest.raises(WitnessFailure, match=r"witness\.toml"):
            witness_settings.load(path)
    for logs in ('["x"]', f'["{BOOK.log_key.to_text()}", "{BOOK.log_key.to_text()}"]'):
        path.write_text(good[: good.index("logs")] + f"logs = {logs}\n")
        with pytest.raises(WitnessFailure, match="logs"):
            witness_settings.load(path).log_keys()
