"""An officer's key file: unreadable without the passphrase, readable by other programs, never replaced."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import unicodedata
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sensmail.keys import Officers, officer
from sensmail.keys.errors import OfficerKeyError, RecoveryError
from sensmail.keys.recovery import halves

PHRASE = "열쇠는 두 사람이 함께 쓴다"  # 15 characters


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "a.key", tmp_path / "a.pub"
    officer.create(private, public, PHRASE)
    return private, public


def test_both_halves_read_back(files: tuple[Path, Path]) -> None:
    private, public = files
    half = officer.load_public(public).public_bytes_raw()
    assert officer.load_private(private, PHRASE).public_key().public_bytes_raw() == half
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_openssl_reads_it(files: tuple[Path, Path]) -> None:
    """An independent reader; the passphrase reaches it by a pipe."""
    private, public = files
    command = ["openssl", "pkey", "-in", private, "-passin", "stdin", "-pubout"]
    done = subprocess.run(command, input=PHRASE + "\n", capture_output=True, text=True, check=True)
    assert done.stdout == public.read_text()
    shape = subprocess.run(["openssl", "asn1parse", "-in", private], capture_output=True, text=True, check=True).stdout
    assert [word for word in ("PBES2", "scrypt", "aes-256-cbc", ":4000", ":08", ":05") if word not in shape] == []


def test_the_same_syllables_from_another_keyboard(files: tuple[Path, Path]) -> None:
    assert officer.load_private(files[0], unicodedata.normalize("NFD", PHRASE))


def test_a_key_file_is_never_replaced(files: tuple[Path, Path], tmp_path: Path) -> None:
    before = files[0].read_bytes()
    with pytest.raises(OfficerKeyError, match=r"a\.key: is there already"):
        officer.create(files[0], tmp_path / "b.pub", PHRASE)
    assert files[0].read_bytes() == before


def test_wrong_input_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = files
    with pytest.raises(OfficerKeyError, match="has 13 characters; take at least 14"):
        officer.create(tmp_path / "b.key", tmp_path / "b.pub", "x" * 13)
    assert not (tmp_path / "b.key").exists()
    for phrase in (PHRASE + "x", ""):
        with pytest.raises(OfficerKeyError, match=r"a\.key: wrong passphrase"):
            officer.load_private(private, phrase)
    with pytest.raises(OfficerKeyError, match="wrong passphrase, or not a private key"):
        officer.load_private(public, PHRASE)
    with pytest.raises(OfficerKeyError, match=r"the officer's \.pub file"):
        officer.load_public(private)
    with pytest.raises(OfficerKeyError, match="No such file"):
        officer.load_public(tmp_path / "none.pub")


def test_a_damaged_file_is_named_or_gives_a_key_that_no_slot_knows(files: tuple[Path, Path]) -> None:
    """PBES2 authenticates nothing, so the second line of defence is the slot's list of officers."""
    private, public = files
    good, half = private.read_bytes(), officer.load_public(public)
    slot_part = Officers.of([half, *(X25519PrivateKey.generate().public_key() for _ in "bc")]).wrap(bytes(32), b"")
    for at in range(40, len(good) - 40, 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            private.write_bytes(bad)
            with contextlib.suppress(RecoveryError):
                halves(officer.load_private(private, PHRASE), slot_part, b"")
                assert officer.load_private(private, PHRASE).public_key() == half


def test_other_kinds_of_key_and_clear_keys_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    signer = Ed25519PrivateKey.generate()
    clear = signer.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(officer.encrypt(clear, PHRASE))
    with pytest.raises(OfficerKeyError, match=r"is X25519; this is .*Ed25519"):
        officer.load_private(file, PHRASE)
    file.write_bytes(signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(OfficerKeyError, match=r"is X25519; this is .*Ed25519"):
        officer.load_public(file)
    file.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(OfficerKeyError, match="is not encrypted"):
        officer.load_private(file, PHRASE)


def test_the_fingerprint_is_24_digits_of_this_key() -> None:
    """Fixed here, because officers write it down: it must never come out otherwise."""
    assert officer.fingerprint(bytes(range(32))) == "7210 2994 9484 9241 5888 8220"
    assert officer.fingerprint(bytes(range(1, 33))) != officer.fingerprint(bytes(range(32)))
