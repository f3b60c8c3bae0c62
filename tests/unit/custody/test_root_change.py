"""A root change from any provider to any: cut off at any step it goes on, and never destroys a root that is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensmail.custody import credentials, notes, root_key
from sensmail.custody.root_change import RootChangeError, read
from sensmail.host.files import Files
from sensmail.keyd.errors import KeyServiceError, RollIncomplete
from sensmail.keyd.protocol import Why
from sensmail.keys.errors import SettingsError, WrongRoot
from sensmail.keys.roots_pkcs11 import SOFTWARE_TOKEN, Pkcs11Root
from unit.custody.machine import KINDS, Cut, Kind, Machine, Make
from unit.kms.fake import FakeKms, running
from unit.softhsm import MODULE

PAIRS = [(old, new) for old in KINDS for new in KINDS]
SAID = ["begun", "ready", "remembered", "restarted", "rolled", "destroyed", "remembered", "restarted", "done"]
ACTS = 9  # of a change from a token or the KMS; from a file it is one less


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[FakeKms]:
    (tmp_path / "kms").mkdir()
    with running(tmp_path / "kms") as service:
        yield service


@pytest.fixture
def make(tmp_path: Path, token: str, kms: FakeKms, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    machines = list[Machine]()

    def made(kind: Kind) -> Machine:
        folder = tmp_path / f"{tmp_path.name}x{len(machines)}"
        folder.mkdir()
        machines.append(Machine(folder, kind, token, kms, monkeypatch))
        machines[-1].log.clear()
        return machines[-1]

    yield made
    for each in machines:
        with suppress(OSError):  # closed by a restart that failed
            each.ring.close()


@pytest.mark.parametrize(("kind", "next_kind"), PAIRS)
def test_the_steps_in_order(make: Make, kind: Kind, next_kind: Kind) -> None:
    machine = make(kind)
    (old,) = machine.in_use()
    machine.want(next_kind)
    said = list(machine.change())
    assert [line.partition(":")[0] for line in said] == SAID
    end = [] if kind == "file" else [f"destroy {kind}"]
    assert machine.log == [
        f"prove {kind}", "record begin privacy_officer", f"prepare {next_kind}", f"prove {kind}", "restart", "rewrap",
        *end, "restart", f"register {old.identity[:4]} privacy_officer", "record end privacy_officer",
    ]  # fmt: skip
    assert "class software" in said[5]
    machine.check(old)


@pytest.mark.parametrize(("kind", "next_kind"), PAIRS)
def test_cut_before_every_act_and_repeated(make: Make, kind: Kind, next_kind: Kind) -> None:
    """Killed once, then repeated by somebody who gives another reason: the approval of the first stays."""
    for cut in range(1, ACTS + 2 - (kind == "file")):
        machine = make(kind)
        (old,) = machine.in_use()
        machine.want(next_kind)
        machine.cut_at = cut
        with pytest.raises(Cut):
            list(machine.change())
        done, machine.cut_at = machine.log.copy(), 0
        assert machine.opens(old) or "rewrap" in done
        list(machine.change(Why("lee", "repeating", "nobody") if machine.state.exists() else Why("a", "b", "c")))
        assert not [entry for entry in machine.log if entry.endswith("nobody")], f"cut {cut}"
        assert machine.log.count("rewrap") == 1, f"cut {cut} after {done}"
        machine.check(old)


@pytest.mark.parametrize(("kind", "next_kind"), PAIRS)
def test_cut_after_every_step_and_the_service_crashed_too(make: Make, kind: Kind, next_kind: Kind) -> None:
    for stop in range(1, len(SAID)):
        machine = make(kind)
        (old,) = machine.in_use()
        machine.want(next_kind)
        steps = machine.change()
        for _ in range(stop):
            next(steps)
        steps.close()
        machine.reopen()
        assert machine.ring.key(machine.key.subject) == machine.key
        list(machine.change())
        machine.check(old)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_cut_in_the_middle_of_the_destruction(
    make: Make, kind: Kind, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has done it, or has not, and nobody wrote down which."""
    machine = make(kind)
    (old,) = machine.in_use()
    machine.want("file")
    owner: Any = credentials if kind == "file" else root_key
    name = "destroy_root" if kind == "file" else "carry_out"
    given = getattr(owner, name)

    def cut(*arguments: Any) -> Any:
        if kind != "file" and arguments[1].act != "destroy":
            return given(*arguments)
        if when == "after":
            given(*arguments)
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut)
        with pytest.raises(Cut):
            list(machine.change())
    assert machine.opens(old) == (when == "before")
    machine.reopen()
    list(machine.change())
    machine.check(old)


@pytest.mark.parametrize("step", ["overwrite", "unlink"])
def test_an_overwriting_that_was_cut_off_is_completed(make: Make, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Half of it must not keep the service from starting: systemd starts no unit with a credential it cannot open."""
    machine = make("file")
    (old,) = machine.in_use()

    def cut(*_: object) -> None:
        raise Cut

    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(Files, step, cut)
        with pytest.raises(Cut):
            list(steps)
    (left,) = (each.name for each in machine.roots.iterdir() if each.name != "2")
    assert left.startswith(".")  # which systemd passes over
    list(machine.change())
    machine.check(old)
    assert [each.name for each in machine.roots.iterdir()] == ["2"]


def test_other_settings_alone_change_nothing(make: Make) -> None:
    """The service starts with the root that is in use, whatever the inventory wants by now."""
    machine = make("pkcs11")
    old = machine.in_use()
    machine.want("ncloud_kms")
    machine.reopen()
    assert machine.ring.key(machine.key.subject) == machine.key
    assert (machine.in_use(), machine.standing().wrapped_by) == (old, old[0].identity)


@pytest.mark.parametrize("kind", ["pkcs11", "ncloud_kms"])
def test_the_root_in_use_is_no_new_one(make: Make, kind: Kind) -> None:
    machine = make(kind)
    with pytest.raises(RootChangeError, match="is the root in use; set keys_root_provider"):
        list(machine.change())
    (old,) = machine.in_use()
    lines = "".join(f"{name} = {value!r}\n" for name, value in {**old.table, "timeout_s": 3}.items())
    machine.configuration.write_text(f'places = ["/a", "/b"]\n[root]\n{lines}')
    with pytest.raises(RootChangeError, match="is the one in use; give the new one another label or key tag"):
        list(machine.change())
    assert machine.opens(old)
    assert "restart" not in machine.log


def test_a_provider_that_is_not_there_keeps_the_old_root(make: Make, kms: FakeKms) -> None:
    """Each by its name; once it is mended, the same command goes on. The old root stays alone in use."""
    troubles: list[tuple[Kind, dict[str, object], str]] = [
        ("pkcs11", {"module": "/nowhere/module.so"}, "nowhere.*the module cannot be loaded"),
        ("pkcs11", {"token": "unplugged"}, "the token is not there"),
        ("pkcs11", {"pin_credential": "sensmail-secret_wrong"}, "the PIN is wrong"),
        ("pkcs11", {"pin_credential": "sensmail-secret_none"}, "sensmail-secret_none: .* cannot be read"),
        ("ncloud_kms", {"key_tag": "unknown"}, "no such key"),
        ("ncloud_kms", {"secret_key_credential": "sensmail-secret_wrong"}, "Authentication Failed"),
        ("ncloud_kms", {"endpoint": "https://127.0.0.1:1"}, "no answer.*gave up after"),
    ]
    for kind, other, words in troubles:
        machine = make("file")
        old = machine.in_use()
        (machine.secrets / "wrong").write_text("9876")
        machine.want(kind, **other)
        with pytest.raises(RootChangeError, match=f"new root cannot be used, the old one is kept: .*{words}") as caught:
            list(machine.change())
        assert "9876" not in str(caught.value)
        assert machine.in_use() == old
        assert {"restart", "rewrap"}.isdisjoint(machine.log)
        machine.reopen()
        assert machine.ring.key(machine.key.subject) == machine.key


@pytest.mark.parametrize("fault", ["429", "hang", "503"])
def test_a_kms_that_throttles_or_hangs_is_asked_again_later(make: Make, kms: FakeKms, fault: str) -> None:
    machine = make("file")
    (old,) = machine.in_use()
    machine.want("ncloud_kms", timeout_s=0.5)
    kms.faults = [fault] * 40
    with pytest.raises(RootChangeError, match=r"the old one is kept: .*(gave up after|no answer within)"):
        list(machine.change())
    kms.faults = []
    list(machine.change())
    machine.check(old)


@pytest.mark.parametrize("kind", ["pkcs11", "ncloud_kms"])
def test_an_old_root_that_is_away_is_not_restarted_into(make: Make, kms: FakeKms, kind: Kind) -> None:
    """The key file is wrapped by it: what the service has in memory must last until it is back."""
    machine = make(kind)
    (old,) = machine.in_use()
    machine.want("file")
    for done in ("", "remembered"):
        if done:
            steps = machine.change()
            while not next(steps).startswith(done):
                pass
            steps.close()
        before = (machine.secrets / "pkcs11-pin").read_text()
        (machine.secrets / "pkcs11-pin").write_text("0000")
        kms.faults = ["503"] * 40
        machine.log.clear()
        with pytest.raises(RootChangeError, match=r"root in use does not answer: .*do not restart it"):
            list(machine.change())
        assert "restart" not in machine.log
        kms.faults = []
        (machine.secrets / "pkcs11-pin").write_text(before)
    list(machine.change())
    machine.check(old)


@pytest.mark.parametrize("kind", ["pkcs11", "ncloud_kms"])
def test_an_old_root_that_cannot_be_destroyed_yet_is_named(make: Make, kms: FakeKms, kind: Kind) -> None:
    """Nothing is entered into the register, both stay in use, and the same command completes it."""
    machine = make(kind)
    (old,) = machine.in_use()
    machine.want("file")
    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    (machine.secrets / "pkcs11-pin").write_text("0000")
    kms.faults = ["401"] * 40
    with pytest.raises(RootChangeError, match="wraps nothing any more, but is not destroyed: "):
        list(steps)
    assert not [entry for entry in machine.log if entry.startswith("register")]
    assert len(machine.in_use()) == 2
    kms.faults = []
    (machine.secrets / "pkcs11-pin").write_text("1234")
    assert machine.opens(old)
    list(machine.change())
    machine.check(old)


def test_another_key_under_the_same_label_is_neither_used_nor_destroyed(make: Make, token: str) -> None:
    machine = make("pkcs11")
    (old,) = machine.in_use()
    other = Pkcs11Root(MODULE, token, old.table["label"], "1234", SOFTWARE_TOKEN)
    other.destroy()
    other.make()
    machine.want("file")
    with pytest.raises(RootChangeError, match=r"and .* was meant; nothing was changed"):
        list(machine.change())
    with pytest.raises(WrongRoot, match=r"where .* was in use"):
        machine.ring.roll()
    assert not other.gone()


def test_a_missing_place_keeps_the_old_root(make: Make) -> None:
    """Its slot is still wrapped by the old root."""
    machine = make("pkcs11")
    (old,) = machine.in_use()
    machine.want("file")
    place = machine.folder / "two"
    away = place.rename(place.with_name("away"))
    for _ in range(2):
        with pytest.raises(KeyServiceError):
            list(machine.change())
        assert machine.opens(old)
    away.rename(place)
    list(machine.change())
    machine.check(old)


def test_a_place_that_drops_out_in_between_keeps_the_old_root(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make("file")
    (old,) = machine.in_use()
    steps = machine.change()
    while not next(steps).startswith("rolled"):
        pass
    now = machine.standing()
    change = read(machine.state)
    assert change
    for unsure in (replace(now, settled=False), replace(now, wrapped_by=change.old.identity)):
        monkeypatch.setattr(machine, "standing", lambda standing=unsure: standing)
        monkeypatch.setattr(machine, "rewrap", lambda why: None)
        with pytest.raises(RollIncomplete, match="which is kept"):
            list(steps)
        assert machine.opens(old)
        steps = machine.change()


def test_a_service_that_does_not_hold_the_new_root_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make("file")
    (old,) = machine.in_use()
    monkeypatch.setattr(machine.host, "restart", lambda: None)
    with pytest.raises(RootChangeError, match="the service does not hold root"):
        list(machine.change())
    assert machine.opens(old)


def test_a_service_that_keeps_the_old_root_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make("file")
    steps = machine.change()
    while not next(steps).startswith("destroyed"):
        pass
    monkeypatch.setattr(machine.host, "restart", lambda: None)
    with pytest.raises(RootChangeError, match="still holds the old root"):
        list(steps)
    assert machine.state.exists()


def test_a_root_that_this_host_does_not_remember(make: Make) -> None:
    machine = make("file")
    machine.host.remember([])
    with pytest.raises(RootChangeError, match="none of those that this host remembers"):
        list(machine.change())


@pytest.mark.parametrize("text", ["", "{", '{"old": 1}', '{"old":"a","new":{},"actor":"","reason":"","x":1}'])
def test_a_damaged_note_is_named(make: Make, text: str) -> None:
    machine = make("file")
    machine.state.write_text(text)
    with pytest.raises(RootChangeError, match=r"root-change\.json: .*sensmail keys status"):
        list(machine.change())
    assert machine.log == []
    machine.state.unlink()
    machine.configuration.with_name("keyd-roots.json").write_text(text)
    with pytest.raises(RootChangeError, match=r"keyd-roots\.json: .*which root key is in use"):
        list(machine.change())
    with pytest.raises(SettingsError, match=r"keyd-roots\.json"):
        machine.reopen()


def test_nothing_is_made_when_the_record_cannot_be_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make("file")

    def refuse(*_: object) -> None:
        raise KeyServiceError("no database")

    ledger: Callable[..., None] = refuse
    monkeypatch.setattr(machine, "ledger", ledger)
    with pytest.raises(KeyServiceError, match="no database"):
        list(machine.change())
    assert [each.name for each in machine.roots.iterdir()] == ["1"]
    assert machine.log == ["prove file"]


def test_a_note_that_was_cut_off_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    notes.write(note, b"one", 0o644)
    assert note.stat().st_mode & 0o777 == 0o644

    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(Files, "rename", cut)
    with pytest.raises(Cut):
        notes.write(note, b"two")
    assert note.read_bytes() == b"one"


def test_a_provider_that_takes_the_request_and_keeps_the_key(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make("pkcs11")
    (old,) = machine.in_use()
    machine.want("file")
    monkeypatch.setattr(Pkcs11Root, "destroy", lambda self: None)
    with pytest.raises(RootChangeError, match="but still holds the key"):
        list(machine.change())
    assert machine.opens(old)
