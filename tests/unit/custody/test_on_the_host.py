"""Drill and gaps as they run on a host: recorded before and after, and compared with what the service says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.cli import main
from sensmail.custody import ceremony
from sensmail.custody.ceremony import DrillFailed, drill_here, gaps_here
from sensmail.keyd import policy, register
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import Refused
from sensmail.keyd.policy import NoPolicy
from sensmail.keyd.protocol import Why
from sensmail.keys import piece
from sensmail.keys.errors import RecoveryError
from sensmail.keys.pieces import slot_of
from sensmail.ledger import Entry, insert
from sensmail.store import SUPERUSER, Connection, Settings
from unit.custody.conftest import Site, copied
from unit.keyd.conftest import policy as applied

WHY = Why("kim", "yearly", "")


@dataclass
class Said:
    """What the running service says of itself."""

    ring: str = ""
    epoch: int = 0
    sequence: int = 0
    settled: int = 0

    def status(self) -> Said:
        return self


def service(said: Said) -> KeyService:
    return cast(KeyService, said)


@pytest.fixture
def drill(lost: Site, media: Path, officers: list[X25519PrivateKey]) -> tuple[Path, Path, Path, Said]:
    """A copy, two pieces of it, and the service that runs what was copied."""
    with lost.open() as ring:
        ring.new_subject_keys(3)
        status = ring.status()
    copy = copied(lost.places[1], media / "copy")
    files = [media / "one", media / "two"]
    for file, key in zip(files, officers, strict=False):
        file.write_bytes(piece(key, slot_of(copy)).encode())
    return copy.directory, files[0], files[1], Said(status.ring, status.epoch, status.sequence)


@pytest.fixture
def records(configured: Settings, session: Callable[[str], Connection]) -> Callable[[], list[tuple[Any, ...]]]:
    """Act, account, outcome and phase of every record so far."""
    reader = session(SUPERUSER)
    query = "SELECT act, account, outcome::text, detail->>'phase' FROM records.inbox ORDER BY id"
    return lambda: reader.execute(query).fetchall()


BEGIN, DONE = ("keys.drill", "kim", "done", "begin"), ("keys.drill", "kim", "done", "end")
FAILED = ("keys.drill", "kim", "failed", "end")
Records = Callable[[], list[tuple[Any, ...]]]


def test_a_drill_is_recorded_before_and_after(drill: tuple[Path, Path, Path, Said], records: Records) -> None:
    copy, one, two, said = drill
    found, behind = drill_here(copy, one, two, service(said), WHY)
    assert (found.subjects, found.ring, behind) == (3, said.ring, 0)
    assert records() == [BEGIN, DONE]
    said.sequence += 4
    assert drill_here(copy, one, two, service(said), WHY)[1] == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ring": "00" * 16}, "is a copy of key file"),
        ({"epoch": 2}, "escaped a roll"),
        ({"sequence": 0}, "put back to an older state"),
    ],
)
def test_a_copy_that_should_not_be_is_a_failed_drill(
    drill: tuple[Path, Path, Path, Said], records: Records, change: dict[str, Any], words: str
) -> None:
    copy, one, two, said = drill
    for name, value in change.items():
        setattr(said, name, value)
    with pytest.raises(DrillFailed, match=words):
        drill_here(copy, one, two, service(said), WHY)
    assert records() == [BEGIN, FAILED]


def test_a_copy_that_does_not_open_is_a_failed_drill(drill: tuple[Path, Path, Path, Said], records: Records) -> None:
    copy, one, _, said = drill
    with pytest.raises(RecoveryError):
        drill_here(copy, one, one, service(said), WHY)
    assert records() == [BEGIN, FAILED]


def test_openings_without_a_record_are_found(configured: Settings, session: Callable[[str], Connection]) -> None:
    for number in (1, 2, 4, 8):
        insert(session(register.ROLE), [Entry("access", "open", opening=number)])
    assert gaps_here(service(Said(settled=9))) == (9, [range(3, 4), range(5, 8), range(9, 10)])
    assert gaps_here(service(Said(settled=2))) == (2, [])


def test_gaps_are_printed_and_end_with_1(
    configured: Settings,
    session: Callable[[str], Connection],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    insert(session(register.ROLE), [Entry("access", "open", opening=3)])
    monkeypatch.setattr(KeyService, "status", lambda self: Said(settled=4))
    assert main(["keys", "gaps"]) == 1
    shown = capsys.readouterr().out
    assert "openings 1 to 2: no record" in shown
    assert "opening 4: no record" in shown
    assert "4 openings, 3 without a record" in shown
    monkeypatch.setattr(KeyService, "status", lambda self: Said(settled=0))
    assert main(["keys", "gaps"]) == 0


def test_only_the_role_that_the_policy_names_approves(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(applied()))
    policy.read(file).keys.require_approval("root", "privacy_officer")
    for other in ("", "privacy_handler", "Privacy_officer"):
        with pytest.raises(Refused, match="root: the policy asks for the approval of privacy_officer"):
            policy.read(file).keys.require_approval("root", other)
    for broken in ("{", "{}", json.dumps({"applied": {"keys": {"approval": "x"}}, "data_map": []})):
        file.write_text(broken)
        with pytest.raises(NoPolicy, match=r"policy\.json: .*run site\.yml"):
            policy.read(file)


@pytest.mark.parametrize("command", ["rotate --now root", "recover copy one two", "officers set a b c"])
def test_without_approval_nothing_is_touched(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(applied()))
    monkeypatch.setattr(policy, "PATH", file)
    monkeypatch.setattr(ceremony.host, "systemctl", lambda *_: pytest.fail("a unit was touched"))
    monkeypatch.setattr("sensmail.cli.keys_ceremony.guard", lambda: None)
    assert main(["keys", *command.split(), "--reason", "x"]) == 1
    assert "the policy asks for the approval of privacy_officer" in capsys.readouterr().err
