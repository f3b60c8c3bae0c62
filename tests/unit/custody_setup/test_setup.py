"""The first set-up of a host's keys: done once, completed wherever it was cut off, and never done over keys."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sensmail.custody import setup
from sensmail.custody.setup import Layout, SetupError, ensure
from sensmail.host.files import Files
from sensmail.keyd import root_keys
from sensmail.keys import KeyFailure, Keyring, Place, snapshot
from sensmail.keys.errors import KeyFileExists, KeyFileMissing, PlaceEmpty, WrongRoot
from unit.custody_setup.host import root_key

Make = Callable[[], None]


def ring_of(layout: Layout) -> Keyring:
    return Keyring.open([Place(each) for each in layout.places], [root_key(layout)])


def note(layout: Layout) -> Path:
    return layout.configuration.with_name("keyd-roots.json")


def everything(layout: Layout) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in layout.marker.parents[1].rglob("*") if each.is_file()}


def test_a_bare_host_gets_root_key_key_file_and_marker(layout: Layout, make_file: Make) -> None:
    outcome = ensure(layout, make_file=make_file)
    assert len(outcome.steps) == 2
    with ring_of(layout) as ring:
        assert set(ring.status().places.values()) == {"in step"}
    (root,) = root_keys.read(note(layout))
    assert root.identity == root_key(layout).identity().hex()
    assert root.table == {"provider": "file", "credential": "sensmail-root_1"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", layout.marker.read_text())


def test_the_second_time_changes_nothing(layout: Layout, make_file: Make) -> None:
    ensure(layout, make_file=make_file)
    before = everything(layout)
    assert ensure(layout, make_file=make_file).steps == []
    assert everything(layout) == before


def test_which_root_is_in_use_is_remembered_once_and_never_by_other_settings(layout: Layout, make_file: Make) -> None:
    note(layout).write_text("of an earlier key file")
    ensure(layout, make_file=make_file)
    before = note(layout).read_bytes()
    layout.configuration.write_text(layout.configuration.read_text().replace('"file"', '"pkcs11"'))
    assert ensure(layout, make_file=make_file).steps == []
    assert note(layout).read_bytes() == before


def test_a_host_that_was_set_up_before_there_was_a_note(layout: Layout, make_file: Make) -> None:
    ensure(layout, make_file=make_file)
    before = note(layout).read_bytes()
    note(layout).unlink()
    (step,) = ensure(layout, check=True, make_file=make_file).steps
    assert "which root is in use" in step
    assert not note(layout).exists()
    assert ensure(layout, make_file=make_file).steps == [step]
    assert note(layout).read_bytes() == before


def test_check_mode_tells_and_makes_nothing(layout: Layout, make_file: Make) -> None:
    before = everything(layout)
    outcome = ensure(layout, check=True, make_file=make_file)
    assert [step.split()[:2] for step in outcome.steps] == [["make", "root"], ["make", "the"]]
    assert everything(layout) == before


def test_check_mode_on_a_host_without_directories(layout: Layout) -> None:
    for each in (layout.marker.parent, *layout.places):
        shutil.rmtree(each)
    assert len(ensure(layout, check=True).steps) == 2


class Cut(BaseException):
    """The process ended here."""


class Cutting:
    """Ends the process at the n-th change of the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for name in ("open", "pwrite", "truncate", "fsync", "rename", "unlink", "fsync_directory"):
            monkeypatch.setattr(Files, name, self._counted(getattr(Files, name)))

    def _counted(self, step: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise Cut
            return step(*arguments)

        return counted


def test_cut_off_anywhere_the_next_run_completes_it(
    layout: Layout, make_file: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for every single change of the disk between nothing and the marker."""
    cuts = 0
    while not layout.marker.exists():
        with monkeypatch.context() as patch:
            cutting = Cutting(patch, cuts)
            try:
                ensure(layout, make_file=make_file)
            except Cut:
                cuts += 1
        if cutting.left >= 0:
            break
        ensure(layout, make_file=make_file)
        with ring_of(layout) as ring:
            assert set(ring.status().places.values()) == {"in step"}
            subject = ring.new_subject_key().subject
        with ring_of(layout) as ring:
            assert ring.key(subject)
        for each in (*layout.places, layout.marker.parent / "root"):
            shutil.rmtree(each)
            each.mkdir()
        layout.marker.unlink()
    assert cuts > 40, "every step of the disk was a place to be cut off at"


@pytest.mark.parametrize("place", [0, 1])
def test_a_key_file_that_is_gone_is_never_made_anew(layout: Layout, make_file: Make, place: int) -> None:
    ensure(layout, make_file=make_file)
    (layout.places[place] / snapshot.NAME).unlink()
    before = everything(layout)
    with pytest.raises(PlaceEmpty, match=rf"{layout.places[place]}: holds no key file, but .*initialised"):
        ensure(layout, make_file=make_file)
    assert everything(layout) == before


def test_all_copies_gone_is_said_as_such(layout: Layout, make_file: Make) -> None:
    ensure(layout, make_file=make_file)
    for place in layout.places:
        (place / snapshot.NAME).unlink()
    with pytest.raises(KeyFileMissing, match="bring it back from a copy"):
        ensure(layout, make_file=make_file)


def test_a_root_key_that_is_gone_is_never_made_anew(layout: Layout, make_file: Make) -> None:
    ensure(layout, make_file=make_file)
    assert layout.root
    (layout.root / "1").unlink()
    for marker in (True, False):
        if not marker:
            layout.marker.unlink()
        with pytest.raises(SetupError, match="holds no root key"):
            ensure(layout, make_file=make_file)
        assert list(layout.root.iterdir()) == []


def test_keys_without_a_marker_are_found_and_kept(layout: Layout, make_file: Make) -> None:
    """As after the loss of /etc, with the root key brought back."""
    ensure(layout, make_file=make_file)
    with ring_of(layout) as ring:
        subject = ring.new_subject_key().subject
    layout.marker.unlink()
    ensure(layout, make_file=make_file)
    with ring_of(layout) as ring:
        assert ring.key(subject)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_place_lost_with_the_marker_is_not_filled_over_keys(layout: Layout, make_file: Make, lost: int) -> None:
    ensure(layout, make_file=make_file)
    with ring_of(layout) as ring:
        ring.new_subject_key()
    layout.marker.unlink()
    shutil.rmtree(layout.places[lost])
    layout.places[lost].mkdir()
    before = everything(layout)
    with pytest.raises(KeyFileExists, match=rf"{layout.places[1 - lost]}: holds a key file in use"):
        ensure(layout, make_file=make_file)
    assert {path: before[path] for path in before if path.name != "lock"} == {
        path: data for path, data in everything(layout).items() if path.name != "lock"
    }


def test_a_strange_root_key_does_not_open_what_is_there(layout: Layout, make_file: Make) -> None:
    ensure(layout, make_file=make_file)
    layout.marker.unlink()
    assert layout.root
    (layout.root / "1").write_bytes(bytes(32))
    with pytest.raises(WrongRoot):
        ensure(layout, make_file=make_file)
    assert not layout.marker.exists()


def test_a_secret_that_is_missing_is_asked_for(layout: Layout, make_file: Make) -> None:
    wanted = replace(layout, root=None, secrets=("pkcs11-pin",))
    with pytest.raises(SetupError, match=r"systemd-creds encrypt --name=sensmail-secret_pkcs11-pin - .*pkcs11-pin$"):
        ensure(wanted, make_file=make_file)
    assert not layout.marker.exists()


def test_a_unit_that_ends_well_and_made_nothing_is_noticed(layout: Layout) -> None:
    with pytest.raises(KeyFileMissing, match="ended well, but there is no key file"):
        ensure(layout, make_file=lambda: None)
    assert not layout.marker.exists()


def test_a_unit_that_fails_is_quoted(
    layout: Layout, make_file: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, script in {
        "systemctl": '[ "$1" = start ] && exit 1; echo 1234; exit 0',
        "journalctl": 'case "$*" in *_SYSTEMD_INVOCATION_ID=1234) echo the disk is full;; esac',
    }.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(SetupError, match=r"sensmail-keyd-setup\.service: the disk is full"):
        ensure(layout)
    assert not layout.marker.exists()
    ensure(layout, make_file=make_file)


def test_swap_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told() -> list[str]:
        return [each for each in ensure(layout, check=True).findings if "swaps to" in each]

    assert told() == []
    setup.SWAPS.write_text("Filename Type Size Used Priority\n/swap.img file 2097148 0 -2\n")
    assert "/swap.img" in told()[0]
    monkeypatch.setattr(setup, "SWAPS", tmp_path / "none")
    assert told() == []


def test_places_on_one_disk_are_told(layout: Layout) -> None:
    def told(*places: Path) -> list[str]:
        return [each for each in ensure(replace(layout, places=places), check=True).findings if "one disk" in each]

    first, second = layout.places
    assert f"{first} and {second} lie on one disk" in told(first, second)[0]
    assert told(first, Path("/proc")) == []
    assert told(first / "none", second / "none") == []


def test_errors_are_failures_of_keys() -> None:
    """So that one handler of the module catches them."""
    assert issubclass(SetupError, KeyFailure)
