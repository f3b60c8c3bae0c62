"""The recovery unit and the command around it: nothing stays in memory, the service runs again, no link is followed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.custody import host, recover
from sensmail.custody.host import RECOVER, SERVICE, SOCKET, UnitFailed, run_recovery
from sensmail.custody.recover import Recovered, Request
from sensmail.keys import piece
from sensmail.keys.pieces import slot_of
from unit.custody.conftest import Site, copied

TEMPLATE = Path(__file__).parents[3] / "roles/keys/templates/etc/systemd/system/sensmail-keyd-recover.service.j2"
PIECES = [b"one", b"two"]


class Units:
    """systemctl: remembers its calls; starting the recovery unit does what a test says."""

    def __init__(self, stage: Path) -> None:
        self.stage, self.calls = stage, list[str]()
        self.recovery: Callable[[], None] = self.succeed

    def __call__(self, *arguments: str) -> None:
        self.calls.append(" ".join(arguments))
        if arguments == ("start", RECOVER):
            self.recovery()

    def succeed(self) -> None:
        self.leave(msgspec.json.encode(Recovered(ring="ab", epoch=3)))

    def leave(self, result: bytes) -> None:
        (self.stage / recover.RESULT).write_bytes(result)

    @property
    def running(self) -> bool:
        """The last call started both units."""
        return self.calls[-1] == f"start {SOCKET} {SERVICE}"


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Units:
    made = Units(tmp_path / "stage")
    monkeypatch.setattr(recover, "STAGE", made.stage)
    monkeypatch.setattr(host, "systemctl", made)
    monkeypatch.setattr(host.pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "copy"
    made.mkdir()
    for name in ("slot.1", "journal.1", "snapshot"):
        (made / name).write_bytes(name.encode())
    return made


def test_the_service_runs_again(units: Units, copy: Path) -> None:
    assert run_recovery(Request(1), copy, PIECES).epoch == 3
    assert units.running
    assert not units.stage.exists()


@pytest.mark.parametrize("result", [b"{", b"[]", b"\xff"])
def test_also_after_a_result_that_cannot_be_read(units: Units, copy: Path, result: bytes) -> None:
    units.recovery = lambda: units.leave(result)
    with pytest.raises(UnitFailed, match=r"result\.json: cannot be read"):
        run_recovery(Request(1), copy, PIECES)
    assert units.running
    assert not units.stage.exists()


def test_also_after_a_refusal_and_an_interruption(units: Units, copy: Path) -> None:
    def refuse() -> None:
        units.leave(msgspec.json.encode(Recovered(error="the pieces do not open it")))
        raise UnitFailed("exit code 1")

    def interrupt() -> None:
        raise KeyboardInterrupt

    for recovery, error in ((refuse, UnitFailed), (interrupt, KeyboardInterrupt), (lambda: None, UnitFailed)):
        units.calls.clear()
        units.recovery = recovery
        with pytest.raises(error):
            run_recovery(Request(1), copy, PIECES)
        assert units.running
        assert not units.stage.exists()


def test_the_reason_of_the_recovery_is_told_when_the_service_does_not_start_either(
    units: Units, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units.recovery = lambda: units.leave(msgspec.json.encode(Recovered(error="the pieces do not open it")))

    def fail(*arguments: str) -> None:
        units(*arguments)
        if arguments == ("start", SOCKET, SERVICE):
            raise UnitFailed("no key file")

    monkeypatch.setattr(host, "systemctl", fail)
    with pytest.raises(UnitFailed, match="the pieces do not open it"):
        run_recovery(Request(1), copy, PIECES)
    units.recovery = units.succeed
    with pytest.raises(UnitFailed, match="no key file"):
        run_recovery(Request(1), copy, PIECES)


@pytest.mark.parametrize("name", ["slot.1", "snapshot"])
def test_a_link_in_the_copy_is_refused_by_name(units: Units, copy: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").write_bytes(b"of somebody else")
    (copy / name).unlink()
    (copy / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnitFailed, match=f"copy/{name}: is a link"):
        run_recovery(Request(1), copy, PIECES)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(UnitFailed, match=f"copy/{name}: is a link, or no plain file"):
        run_recovery(Request(1), copy, PIECES)
    assert units.calls == []
    assert not units.stage.exists()


def test_a_result_that_is_a_link_is_not_read(units: Units, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(msgspec.json.encode(Recovered(ring="of somebody else")))
    units.recovery = lambda: (units.stage / recover.RESULT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnitFailed, match=r"result\.json: is a link"):
        run_recovery(Request(1), copy, PIECES)
    assert units.running


def test_the_directory_is_given_away_last_and_no_link_is_followed(
    units: Units, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        assert not follow_symlinks
        given.append(path)

    monkeypatch.setattr(host.os, "chown", chown)
    run_recovery(Request(1), copy, PIECES)
    assert len(given) == 8
    assert given[-1] == units.stage
    assert all(given.index(path) < given.index(path.parent) for path in given[:-1])


@pytest.fixture
def staged(
    lost: Site, fresh: Site, tmp_path: Path, officers: list[X25519PrivateKey], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What the unit finds."""
    stage = tmp_path / "stage"
    stage.mkdir()
    with lost.open() as ring:
        ring.new_subject_keys(3)
    place = copied(lost.places[1], stage / recover.COPY)
    for name, key in zip(recover.PIECES, officers, strict=False):
        (stage / name).write_bytes(piece(key, slot_of(place)).encode())
    gave_up = Request(41, [str(each.directory) for each in lost.places])
    (stage / recover.REQUEST).write_bytes(msgspec.json.encode(gave_up))
    settings = SimpleNamespace(roots=lambda: [fresh.root], places=[each.directory for each in fresh.places])
    monkeypatch.setattr(recover, "harden", lambda: None)
    monkeypatch.setattr(recover, "load", lambda: settings)
    return stage


def test_the_unit_recovers_from_memory(staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is done, pieces and copy are gone."""
    original, left = recover.recover, list[str]()

    def watched(*given: object) -> Recovered:
        left.extend(sorted(each.name for each in staged.iterdir()))
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(recover, "recover", watched)
    assert recover.main(staged) == 0
    assert left == [recover.REQUEST]
    done = msgspec.json.decode((staged / recover.RESULT).read_bytes(), type=Recovered)
    assert (done.subjects, done.error) == (3, "")


def test_the_unit_leaves_nothing_when_it_refuses(staged: Path) -> None:
    (staged / recover.PIECES[1]).write_bytes(b"no piece")
    assert recover.main(staged) == 1
    assert sorted(each.name for each in staged.iterdir()) == [recover.REQUEST, recover.RESULT]


def test_systemd_stops_and_starts_the_service_around_it() -> None:
    """So that a command that is killed at any point leaves it running, or stopped for as long as the unit runs."""
    lines = TEMPLATE.read_text().splitlines()
    for setting in ("Conflicts", "After", "OnSuccess", "OnFailure"):
        assert f"{setting}={SOCKET} {SERVICE}" in lines
    assert not [each for each in lines if each.startswith(("Condition", "Assert"))], "the service would stay stopped"


def test_systemd_removes_what_a_killed_unit_left() -> None:
    (line,) = [each for each in TEMPLATE.read_text().splitlines() if each.startswith("ExecStopPost=")]
    assert line.split()[2:] == [str(recover.STAGE / name) for name in (*recover.PIECES, recover.COPY)]
