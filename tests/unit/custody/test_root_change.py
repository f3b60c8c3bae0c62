"""A root change goes on after being cut off between any two steps, and never destroys a root that is still needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.custody import credentials
from sensmail.custody.root_change import RootChangeError, Standing, change_root, read
from sensmail.keyd.errors import KeyServiceError, RollIncomplete
from sensmail.keyd.protocol import Why
from sensmail.keys import FileRoot, Keyring, Officers, Place
from sensmail.keys.errors import KeyFailure, PlaceUnreachable
from sensmail.keys.files import Files
from sensmail.keys.roots import Roots

WHY = Why("kim", "every two years", "privacy_officer")


class Cut(BaseException):
    """The process was killed here."""


class Machine:
    """A host with root files and a real key file; its service is one open keyring, which `restart` opens anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, list[str]()
        self.acts = 0
        self.cut_at = 0  # the act before which the process is killed; 0: never
        self.roots, self.state = folder / "root", folder / "root-change.json"
        self.roots.mkdir()
        self.places = [Place(folder / name) for name in ("one", "two")]
        for place in self.places:
            place.directory.mkdir()
        FileRoot.create(self.roots / "1")
        officers = [X25519PrivateKey.generate().public_key() for _ in range(3)]
        self.ring = Keyring.create(self.places, self.held(), Officers.of(officers))
        self.key = self.ring.new_subject_key()
        self.load()

    def held(self) -> Roots:
        return [FileRoot(self.roots / str(each)) for each in self.generations()]

    def load(self) -> None:
        """What systemd hands to the unit: copies, which stay when the files go."""
        self.loaded = self.held()
        self.known = frozenset(root.identity().hex() for root in self.loaded)

    def act(self, name: str) -> None:
        self.acts += 1
        if self.acts == self.cut_at:
            raise Cut
        self.log.append(name)

    # the host

    def generations(self) -> list[int]:
        return credentials.generations(self.roots)

    def make(self, generation: int) -> None:
        self.act(f"make {generation}")
        FileRoot.create(self.roots / str(generation))

    def destroy(self, generation: int) -> None:
        self.act(f"destroy {generation}")
        credentials.destroy_root(generation, self.roots)

    def sweep(self) -> None:
        credentials.sweep(self.roots)

    def restart(self) -> None:
        self.act("restart")
        self.ring.close()
        self.load()
        self.ring = Keyring.open(self.places, self.loaded)

    # the service

    def standing(self) -> Standing:
        status = self.ring.status()
        settled = not status.destroying and set(status.places.values()) == {"in step"}
        return Standing(status.root, self.known, settled)

    def rewrap(self, why: Why) -> None:
        self.act("rewrap")
        try:
            self.ring.roll(root=self.loaded[-1])
        except PlaceUnreachable as error:
            raise KeyServiceError(str(error)) from error
        except KeyFailure as error:
            raise RollIncomplete(str(error)) from error

    # its records

    def ledger(self, why: Why, outcome: str, detail: Mapping[str, str | int]) -> None:
        self.act(f"record {detail['phase']} {why.approver}")

    def destroyed(self, identity: str, why: Why) -> None:
        self.act(f"register {identity[:4]} {why.approver}")

    def change(self, why: Why = WHY) -> Iterator[str]:
        return change_root(self, self, self.state, why, self.ledger, self.destroyed)

    def check(self, old: str) -> None:
        """What a finished root change leaves."""
        assert self.generations() == [2]
        assert not self.state.exists()
        assert self.standing() == Standing(FileRoot(self.roots / "2").identity().hex(), self.standing().held, True)
        assert old not in self.standing().held
        self.restart()
        assert self.ring.key(self.key.subject) == self.key


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ring.close()


def test_the_steps_in_order(machine: Machine) -> None:
    old = machine.standing().wrapped_by
    said = list(machine.change())
    assert machine.log == [
        "record begin privacy_officer", "make 2", "restart", "rewrap", "destroy 1", "restart",
        f"register {old[:4]} privacy_officer", "record end privacy_officer",
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in said] == [
        "begun", "made", "restarted", "rolled", "destroyed", "restarted", "done",
    ]  # fmt: skip
    machine.check(old)


@pytest.mark.parametrize("cut", range(1, 9))
def test_cut_before_every_act_and_repeated(machine: Machine, cut: int) -> None:
    """Killed once, then repeated by somebody who gives another reason: the approval of the first stays."""
    old = machine.standing().wrapped_by
    machine.cut_at = cut
    with pytest.raises(Cut):
        list(machine.change())
    made = machine.log.copy()
    machine.cut_at = 0
    other = Why("lee", "repeating", "nobody")
    list(machine.change(other))
    assert not [entry for entry in machine.log if entry.endswith("nobody")]
    for act in ("make 2", "rewrap", "destroy 1"):
        assert machine.log.count(act) == 1, f"{act} after {made}"
    machine.check(old)


@pytest.mark.parametrize("stop", range(1, 7))
def test_cut_after_every_step_and_the_service_crashed_too(machine: Machine, stop: int) -> None:
    old = machine.standing().wrapped_by
    steps = machine.change()
    for _ in range(stop):
        next(steps)
    steps.close()
    machine.restart()
    list(machine.change())
    machine.check(old)


def test_a_missing_place_keeps_the_old_root(machine: Machine) -> None:
    """Its slot is still wrapped by the old root."""
    old, place = machine.standing().wrapped_by, machine.places[1].directory
    away = place.rename(place.with_name("away"))
    for _ in range(2):
        with pytest.raises(KeyServiceError):
            list(machine.change())
        assert machine.generations() == [1, 2]
    away.rename(place)
    list(machine.change())
    machine.check(old)


def test_a_place_lost_after_the_roll_keeps_the_old_root(machine: Machine) -> None:
    old, place = machine.standing().wrapped_by, machine.places[1].directory
    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    steps.close()
    away = place.rename(place.with_name("away"))
    machine.restart()
    with pytest.raises(KeyServiceError):
        list(machine.change())
    assert 1 in machine.generations()
    away.rename(place)
    machine.restart()
    list(machine.change())
    machine.check(old)


def test_a_place_that_drops_out_in_between_keeps_the_old_root(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    now = machine.standing()
    for unsure in (replace(now, settled=False), replace(now, wrapped_by=str(read(machine.state).old))):
        monkeypatch.setattr(machine, "standing", lambda standing=unsure: standing)
        monkeypatch.setattr(machine, "rewrap", lambda why: None)
        with pytest.raises(RollIncomplete, match="which is kept"):
            list(steps)
        assert machine.generations() == [1, 2]
        steps = machine.change()


@pytest.mark.parametrize("steps", [0, 2])
def test_a_root_that_is_only_in_memory_any_more_is_not_lost_by_a_restart(machine: Machine, steps: int) -> None:
    change = machine.change()
    for _ in range(steps):
        next(change)
    (machine.roots / "1").unlink()
    with pytest.raises(RootChangeError, match="do not restart it"):
        list(change)
    assert "restart" not in machine.log
    FileRoot.create(machine.roots / "3")  # so that the fixture's end finds a root


def test_a_service_that_does_not_see_the_new_root_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "restart", lambda: None)
    with pytest.raises(RootChangeError, match="does not see root generation 2"):
        list(machine.change())
    assert machine.generations() == [1, 2]


def test_a_service_that_keeps_the_old_root_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = machine.change()
    while not next(steps).startswith("destroyed"):
        pass
    monkeypatch.setattr(machine, "restart", lambda: None)
    monkeypatch.setattr(machine, "standing", lambda old=machine.standing: _with(old(), read(machine.state)))
    with pytest.raises(RootChangeError, match="still holds the old root"):
        list(steps)
    assert machine.state.exists()


def _with(standing: Standing, change: object) -> Standing:
    return Standing(standing.wrapped_by, standing.held | {getattr(change, "old", "")}, standing.settled)


@pytest.mark.parametrize("step", ["overwrite", "unlink"])
def test_a_destruction_that_was_cut_off_is_completed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Half of it must not keep the service from starting: systemd starts no unit with a credential it cannot open."""
    old = machine.standing().wrapped_by

    def cut(*_: object) -> None:
        raise Cut

    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(Files, step, cut)
        with pytest.raises(Cut):
            list(steps)
    assert machine.generations() == [2]
    (left,) = (each.name for each in machine.roots.iterdir() if each.name != "2")
    assert left.startswith(".")  # which systemd passes over
    list(machine.change())
    machine.check(old)
    assert [each.name for each in machine.roots.iterdir()] == ["2"]


@pytest.mark.parametrize("text", ["", "{", '{"old": 1}', '{"old":"a","generation":2,"actor":"","reason":"","x":1}'])
def test_a_damaged_note_is_named(machine: Machine, text: str) -> None:
    machine.state.write_text(text)
    with pytest.raises(RootChangeError, match=r"root-change\.json: .*sensmail keys status"):
        list(machine.change())
    assert machine.log == []


def test_nothing_is_destroyed_when_the_record_cannot_be_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise KeyServiceError("no database")

    ledger: Callable[..., None] = refuse
    monkeypatch.setattr(machine, "ledger", ledger)
    with pytest.raises(KeyServiceError, match="no database"):
        list(machine.change())
    assert machine.generations() == [1]
    assert machine.log == []
