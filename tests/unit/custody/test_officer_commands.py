"""`sensmail keys officer new`, `piece`, `drill --offline`: real processes, passphrases typed at a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import Officers, officer
from sensmail.keys.pieces import slot_of
from unit.custody.conftest import Site, copied

PHRASE = "long enough to be a phrase"
COMMAND = [sys.executable, "-m", "sensmail.cli", "keys"]
LIMIT_S = 60


@dataclass
class Ended:
    """What the terminal showed, and the exit code."""

    shown: str
    code: int


def at_terminal(arguments: Sequence[str | Path], typed: Sequence[str], folder: Path) -> Ended:
    """Run a command with a terminal of its own; type one answer for each question (a line that ends in ": ")."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(sys.executable, [*COMMAND, *map(str, arguments)])
    shown, answers, asked, ends = b"", list(typed), 0, time.monotonic() + LIMIT_S
    while True:
        if not select.select([terminal], [], [], max(0, ends - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            pytest.fail(f"the command hangs after {shown!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other side has closed
            data = b""
        if not data:
            break
        shown += data
        if shown.endswith(b": ") and len(shown) > asked and answers:
            asked = len(shown)
            command = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
            assert not any(each.encode() in command for each in typed)
            os.write(terminal, answers.pop(0).encode() + b"\n")
    os.close(terminal)
    return Ended(shown.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_new_officer(tmp_path: Path) -> None:
    ended = at_terminal(["officer", "new", "kim.key"], [PHRASE, PHRASE], tmp_path)
    assert ended.code == 0, ended.shown
    key = officer.load_private(tmp_path / "kim.key", PHRASE)
    public = officer.load_public(tmp_path / "kim.key.pub")
    assert key.public_key() == public
    assert officer.fingerprint(public.public_bytes_raw()) in ended.shown
    assert (tmp_path / "kim.key.pub").read_text() in ended.shown.replace("\r", "")
    assert PHRASE not in ended.shown
    assert sorted(os.listdir(tmp_path)) == ["kim.key", "kim.key.pub"]


@pytest.mark.parametrize(
    ("typed", "words"), [(["short", "short"], "5 characters; take at least 14"), ([PHRASE, PHRASE + "x"], "differ")]
)
def test_a_bad_passphrase_writes_nothing(tmp_path: Path, typed: list[str], words: str) -> None:
    ended = at_terminal(["officer", "new", "kim.key"], typed, tmp_path)
    assert (ended.code, words in ended.shown) == (1, True), ended.shown
    assert os.listdir(tmp_path) == []


def test_an_existing_key_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "kim.key.pub").write_text("mine")
    ended = at_terminal(["officer", "new", "kim.key"], [], tmp_path)
    assert ended.code == 1
    assert "kim.key.pub: is there already and is never replaced" in ended.shown
    assert (tmp_path / "kim.key.pub").read_text() == "mine"


def test_no_passphrase_is_taken_from_standard_input(tmp_path: Path) -> None:
    """A passphrase in a pipe ends up in a script, and a script in a backup."""
    done = subprocess.run(
        [*COMMAND, "officer", "new", "kim.key"], input=f"{PHRASE}\n{PHRASE}\n", cwd=tmp_path, capture_output=True,
        text=True, timeout=LIMIT_S, start_new_session=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "asked on a terminal only" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.fixture
def trio(tmp_path: Path) -> list[X25519PrivateKey]:
    """Three officers with key files a.key, b.key, c.key."""
    made = []
    for name in "abc":
        officer.create(tmp_path / f"{name}.key", tmp_path / f"{name}.pub", PHRASE)
        made.append(officer.load_private(tmp_path / f"{name}.key", PHRASE))
    return made


def test_two_pieces_open_a_copy(lost: Site, tmp_path: Path, trio: list[X25519PrivateKey]) -> None:
    """The whole drill of officers: a slot file to one, a whole copy to the other; the copy opens, nothing else does."""
    with lost.open() as ring:
        ring.new_subject_keys(3)
        ring.roll(officers=Officers.of([each.public_key() for each in trio]))
        ring.new_subject_key()
        status = ring.status()
    copy = copied(lost.places[1], tmp_path / "copy")
    (tmp_path / "handed.slot").write_bytes(slot_of(copy))
    for slot, name in (("handed.slot", "a"), ("copy", "c")):
        ended = at_terminal(["piece", slot, f"{name}.key", "--output", f"{name}.piece"], [PHRASE], tmp_path)
        assert ended.code == 0, ended.shown
        assert PHRASE not in ended.shown
    ended = at_terminal(["drill", "copy", "a.piece", "c.piece", "--offline"], [], tmp_path)
    assert ended.code == 0, ended.shown
    assert f"key file {status.ring}, epoch {status.epoch}, {status.sequence} changes" in ended.shown
    assert "4 subjects" in ended.shown
    assert "nothing was recorded" in ended.shown

    assert at_terminal(["drill", "copy", "a.piece", "a.piece", "--offline"], [], tmp_path).code == 1
    piece = (tmp_path / "a.piece").read_text()
    (tmp_path / "a.piece").write_text(piece[: len(piece) // 2])
    ended = at_terminal(["drill", "copy", "a.piece", "c.piece", "--offline"], [], tmp_path)
    assert (ended.code, "a.piece: not a whole piece file" in ended.shown) == (1, True), ended.shown


def test_a_piece_is_refused_by_name(lost: Site, tmp_path: Path, trio: list[X25519PrivateKey]) -> None:
    slot = lost.places[1].path("slot.1")
    cases = [
        (["piece", slot, "a.key", "--output", "a.piece"], [PHRASE], "none of those this copy was encrypted to"),
        (["piece", slot, "a.key", "--output", "a.piece"], [PHRASE + "!"], "a.key: wrong passphrase"),
        (["piece", slot, "a.pub", "--output", "a.piece"], [PHRASE], "a.pub: wrong passphrase, or not a private key"),
        (["piece", "none", "a.key", "--output", "a.piece"], [], "none: cannot be read: No such file"),
        (["piece", "a.pub", "a.key", "--output", "a.piece"], [PHRASE], "a slot has 4096 bytes"),
        (["piece", slot, "a.key", "--output", "b.key"], [], "b.key: is there already"),
    ]
    for arguments, typed, words in cases:
        ended = at_terminal(arguments, typed, tmp_path)
        assert ended.code == 1, arguments
        assert words in ended.shown.replace("\r\n", " "), (arguments, ended.shown)
    assert not (tmp_path / "a.piece").exists()
