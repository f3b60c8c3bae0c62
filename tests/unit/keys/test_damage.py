"""Every changed bit and every cut of a key file is a named error; a torn last record is not."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensmail.keys import FileRoot, KeyFailure, Keyring, Place, SubjectKey, slot
from sensmail.keys.errors import CounterLost, Damaged, Diverged, FirstPlaceBehind, PlaceUnreachable
from sensmail.keys.state import State

FILES = ["snapshot", "slot.0", "journal.2", "counter"]
STEPS = {"slot.0": 11}  # a slot is mostly padding


@pytest.fixture
def keys(reopen: Callable[[], Keyring]) -> list[SubjectKey]:
    """A key file in its second epoch, with one subject in the snapshot and two records after it."""
    with reopen() as ring:
        made = [ring.new_subject_key()]
        ring.roll()
        made += [ring.new_subject_key(), ring.new_subject_key()]
        ring.reserve_openings(5)
    return made


def _opens(reopen: Callable[[], Keyring], keys: list[SubjectKey]) -> bool:
    with reopen() as ring:
        return [ring.key(key.subject) for key in keys] == keys


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_is_noticed(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring], name: str, which: int
) -> None:
    path = places[which].path(name)
    if name == "counter" and which == 1:
        assert not path.exists()
        return
    good = path.read_bytes()
    for at in range(0, len(good), STEPS.get(name, 1)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        with pytest.raises((Damaged, Diverged, FirstPlaceBehind, CounterLost), match=r"first|second"):
            reopen()
    path.write_bytes(good)
    assert _opens(reopen, keys)


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", ["snapshot", "slot.0", "counter"])
def test_every_cut_is_noticed(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring], name: str, which: int
) -> None:
    path = places[which].path(name)
    if not path.exists():
        return
    good = path.read_bytes()
    for length in range(0, len(good), STEPS.get(name, 1)):
        path.write_bytes(good[:length])
        with pytest.raises((Damaged, Diverged, CounterLost)):
            reopen()
    path.write_bytes(good)
    assert _opens(reopen, keys)


def test_a_cut_journal(places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring]) -> None:
    """First place: always noticed, because the second has more. Second place: only a torn last record is mended."""
    goods = [place.path("journal.2").read_bytes() for place in places]
    last = len(goods[0]) - (57 + 40)
    for length in range(len(goods[0])):
        places[0].path("journal.2").write_bytes(goods[0][:length])
        with pytest.raises((Damaged, FirstPlaceBehind)):
            reopen()
    places[0].path("journal.2").write_bytes(goods[0])
    for length in range(len(goods[1])):
        places[1].path("journal.2").write_bytes(goods[1][:length])
        if length < last:
            with pytest.raises((Damaged, Diverged)):
                reopen()
        else:
            assert _opens(reopen, keys)
            assert places[1].path("journal.2").read_bytes() == goods[1]


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 200, b"garbage" * 30])
def test_a_torn_record_is_dropped_only_when_no_place_has_it(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring], tail: bytes
) -> None:
    journals = [place.path("journal.2") for place in places]
    good = journals[0].read_bytes()
    journals[0].write_bytes(good + tail)
    away = places[1].directory.with_name("away")
    places[1].directory.rename(away)
    with pytest.raises(PlaceUnreachable, match=r"only .*second can tell"):
        reopen()
    away.rename(places[1].directory)
    assert _opens(reopen, keys)
    assert journals[0].read_bytes() == good


def test_the_same_damage_in_every_place_is_not_taken_for_a_torn_end(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring]
) -> None:
    """As when one disk image lies under both: a bad record with another behind it was no last write."""
    for place in places:
        path = place.path("journal.2")
        content = bytearray(path.read_bytes())
        content[56 + 30] ^= 1
        path.write_bytes(content)
    with pytest.raises(Damaged, match="record 2 was changed"):
        reopen()


def test_a_journal_that_another_program_writes_to(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring]
) -> None:
    with reopen() as ring:
        with places[0].path("journal.2").open("ab") as file:
            file.write(b"x")
        with pytest.raises(Damaged, match="another program"):
            ring.new_subject_key()
        assert ring.key(keys[0].subject) == keys[0]
    assert _opens(reopen, keys)


def test_missing_files(places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring]) -> None:
    for place in places:
        for name in FILES:
            if not place.path(name).exists():
                continue
            good = place.path(name).read_bytes()
            place.path(name).unlink()
            with pytest.raises(KeyFailure):
                reopen()
            place.path(name).write_bytes(good)
    assert _opens(reopen, keys)


def test_another_key_file_beside_the_first(places: list[Place], keys: list[SubjectKey], root: FileRoot) -> None:
    others = [Place(place.directory.with_name(f"other-{place.directory.name}")) for place in places]
    for other in others:
        other.directory.mkdir()
    Keyring.create(others, root, None).close()
    with pytest.raises(Diverged, match="another key file"):
        Keyring.open([places[0], others[1]], root)


def test_a_first_place_put_back_to_an_older_state(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring], root: FileRoot, tmp_path: Path
) -> None:
    """A restored disk image must not bring a destroyed key back: refused, until the newer place fills it."""
    shutil.copytree(places[0].directory, tmp_path / "image")
    with reopen() as ring:
        ring.destroy_subjects([keys[0].subject])
        ring.roll()
    shutil.rmtree(places[0].directory)
    shutil.copytree(tmp_path / "image", places[0].directory)
    words = r"older than .*second: .*move the files of .*first away, then `sensmail keys fill`"
    with pytest.raises(FirstPlaceBehind, match=words):
        reopen()
    with Keyring.open(places[::-1], root, issued=5) as ring:
        assert ring.destroyed(keys[0].subject)
        assert ring.key(keys[1].subject) == keys[1]
        live = [name for name in ("slot.0", "slot.1") if (places[0].read(name) or b"")[8] == 1]
        assert live == ["slot.1"], "the old epoch's slot came back with the image, and is overwritten again"


def test_two_histories_are_never_merged(
    places: list[Place], keys: list[SubjectKey], reopen: Callable[[], Keyring], root: FileRoot, tmp_path: Path
) -> None:
    third = tmp_path / "third"
    shutil.copytree(places[1].directory, third)
    reopen_third = [Place(Path(shutil.copytree(places[0].directory, tmp_path / "fourth"))), Place(third)]
    with Keyring.open(reopen_third, root, lost=[place.directory for place in places]) as ring:
        ring.new_subject_key()
    with reopen() as ring:
        ring.new_subject_key()
        ring.new_subject_key()
    with pytest.raises(Diverged):
        Keyring.open([places[0], Place(third)], root)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_the_content_parser_takes_any_bytes(garbage: bytes) -> None:
    for parse in (State.decode, lambda record: State().apply(record, 1)):
        with contextlib.suppress(Damaged):
            parse(garbage)


def test_unknown_numbers_in_the_content_are_refused() -> None:
    def content(row: bytes) -> bytes:
        return bytes(24) + (1).to_bytes(8) + row + bytes(16)

    good = b"s" * 16 + (1).to_bytes(4) + b"\x01" + bytes(3) + b"k" * 32
    assert State.decode(content(good)).versions(b"s" * 16)[0].material == b"k" * 32
    for at, value in ((20, 0), (20, 5), (20, 255), (21, 1), (23, 1)):
        with pytest.raises(Damaged, match="not known"):
            State.decode(content(good[:at] + bytes([value]) + good[at + 1 :]))
    for act in (0, 10, 255):
        with pytest.raises(Damaged, match=f"operation {act} "):
            State().apply(bytes([act]) + bytes(56), 1)


def test_operations_that_the_state_does_not_allow_are_refused() -> None:
    """The journal is sealed, so this is a program's mistake; it must not pass for a key file."""

    def operation(act: int, number: int) -> bytes:
        return bytes([act]) + b"s" * 16 + number.to_bytes(8) + b"k" * 32

    state = State()
    for wrong in (operation(1, 2), operation(1, 0), operation(4, 1)):
        with pytest.raises(Damaged, match="the journal"):
            state.apply(wrong, 1)
    state.apply(operation(1, 1) + operation(1, 2), 1)
    for wrong in (operation(1, 2), operation(4, 1), operation(4, 2), operation(4, 3)):  # 1 is replaced, 2 active
        with pytest.raises(Damaged, match="the journal"):
            state.apply(wrong, 1)
    state.apply(operation(5, 9), 1)
    with pytest.raises(Damaged, match="after its end"):
        state.apply(operation(1, 1), 1)


def test_a_slot_with_something_behind_its_parts_is_refused() -> None:
    packed = slot.Slot(b"r" * 16, 1, live=True, wrapped=b"w" * 60).pack()
    assert slot.parse(packed, "x").wrapped == b"w" * 60
    body = packed[:4063] + b"\x01"
    with pytest.raises(Damaged, match="more than"):
        slot.parse(body + hashlib.sha256(body).digest(), "x")
    with pytest.raises(ValueError, match="do not fit"):
        slot.Slot(b"r" * 16, 1, live=True, wrapped=b"w" * 4096).pack()
