"""Any two of three officers open a copy without the root key; one alone learns nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keys import Drill, FileRoot, KeyFailure, Keyring, Officers, Piece, PiecesRoot, Place, drill, piece, slot
from sensmail.keys.errors import Damaged, KeyFileMissing, RecoveryError, RootUnavailable
from sensmail.keys.pieces import join, slot_of
from sensmail.keys.recovery import RECOVERY_BYTES, officers_of
from sensmail.keys.slot import Slot
from unit.keys.bring import by_officers

KEY = bytes(range(32))
Private = list[X25519PrivateKey]


def _officers(private: Private) -> Officers:
    return Officers.of([each.public_key() for each in private])


def _slot(private: Private, key: bytes, epoch: int = 1) -> bytes:
    """A slot of ring "rrr…" that these officers open."""
    ring = b"r" * 16
    recovery = _officers(private).wrap(key, slot.context(ring, epoch))
    return Slot(ring, epoch, live=True, wrapped=b"w" * 60, recovery=recovery).pack()


def _changed(packed: bytes, at: int) -> bytes:
    """One bit of a slot's recovery part changed, and its checksum made to fit."""
    found = slot.parse(packed, "x")
    recovery = bytearray(found.recovery)
    recovery[at] ^= 1
    return Slot(found.ring, found.epoch, live=True, wrapped=found.wrapped, recovery=bytes(recovery)).pack()


@given(key=st.binary(min_size=32, max_size=32), epoch=st.integers(1, 2**64 - 1))
def test_every_pair_recovers(officers: Private, key: bytes, epoch: int) -> None:
    packed = _slot(officers, key, epoch)
    recovery = slot.parse(packed, "x").recovery
    assert len(recovery) == RECOVERY_BYTES == 576
    assert officers_of(recovery) == _officers(officers)
    for one, two in itertools.permutations(officers, 2):
        carried = [Piece.decode(piece(each, packed).encode(), "x") for each in (one, two)]
        assert join(*carried) == key
        assert PiecesRoot(*carried).unwrap(recovery, slot.context(b"r" * 16, epoch)) == key


def test_one_officer_is_not_enough(officers: Private) -> None:
    packed = _slot(officers, KEY)
    for each in officers:
        mine = piece(each, packed)
        assert KEY not in mine.halves.values()
        with pytest.raises(RecoveryError, match="two different"):
            join(mine, mine)
        assert all(half.hex() not in repr(mine) and repr(half) not in repr(mine) for half in mine.halves.values())


def test_halves_are_fresh_for_every_pair_and_time(officers: Private) -> None:
    """Were a half used twice, one officer's two halves would cancel out to something about the key."""
    seen: set[bytes] = set()
    for _ in range(20):
        packed = _slot(officers, KEY)
        seen |= {half for each in officers for half in piece(each, packed).halves.values()}
    assert len(seen) == 20 * 6


def test_a_stranger_and_a_changed_part_are_refused(officers: Private) -> None:
    packed = _slot(officers, KEY)
    found = slot.parse(packed, "x")
    with pytest.raises(RecoveryError, match="none of those"):
        piece(X25519PrivateKey.generate(), packed)
    with pytest.raises(RecoveryError, match="another"):
        piece(officers[0], Slot(found.ring, 2, live=True, wrapped=b"w", recovery=found.recovery).pack())
    with pytest.raises(RecoveryError, match="found 575"):
        piece(officers[0], Slot(found.ring, 1, live=True, wrapped=b"w", recovery=found.recovery[:-1]).pack())
    with pytest.raises(RecoveryError, match="none of those"):
        piece(officers[0], Slot(found.ring, 1, live=True, wrapped=b"w").pack())
    with pytest.raises(RecoveryError, match="destroyed"):
        piece(officers[0], Slot(found.ring, 1, live=False).pack())
    with pytest.raises(Damaged):
        piece(officers[0], packed[:-1])
    for at in range(RECOVERY_BYTES):
        with pytest.raises(RecoveryError):
            [piece(each, _changed(packed, at)) for each in officers]


def test_pieces_of_different_epochs_or_slots_do_not_join(officers: Private) -> None:
    """The halves of one epoch, or of an earlier wrapping of the same epoch, give no key of another."""
    first, again, later = _slot(officers, KEY, 1), _slot(officers, KEY, 1), _slot(officers, KEY, 2)
    mine = piece(officers[0], first)
    for other in (again, later):
        with pytest.raises(RecoveryError, match="do not belong together"):
            join(mine, piece(officers[1], other))
        both = PiecesRoot(mine, piece(officers[1], first))
        found = slot.parse(other, "x")
        with pytest.raises(RecoveryError, match="hand its slot"):
            both.unwrap(found.recovery, slot.context(found.ring, found.epoch))


def test_a_piece_file_that_is_not_whole_is_refused_and_not_shown(officers: Private) -> None:
    good = piece(officers[1], _slot(officers, KEY)).encode()
    document = json.loads(good)
    halves = document["halves"]
    wrong: list[object] = [
        *({**document, name: None} for name in document),
        *({each: value for each, value in document.items() if each != name} for name in document),
        {**document, "format": "sensmail officer piece v2"},
        {**document, "more": 1},
        {**document, "officer": 0},
        {**document, "officer": 3},
        {**document, "recovery": document["recovery"].upper()},
        {**document, "halves": {**halves, "0-2": halves["0-1"]}},
        {**document, "officer": True},
        {**document, "epoch": "1"},
        {**document, "ring": document["ring"][2:]},
        {**document, "halves": {"0-1": halves["0-1"]}},
        {**document, "halves": {**halves, "0-1": halves["0-1"][2:]}},
        {**document, "halves": {**halves, "0-1": 5}},
        [document],
        "text",
    ]
    for content in [*(json.dumps(each).encode() for each in wrong), b"", b"{", good[:-3], b"\xff" + good]:
        with pytest.raises(RecoveryError, match=r"one\.piece: not a whole piece") as caught:
            Piece.decode(content, "one.piece")
        assert halves["0-1"] not in "".join(traceback.format_exception(caught.value))
    with contextlib.suppress(RecoveryError):
        Piece.decode(good.replace(b"1", b"2"), "x")


@given(st.binary(max_size=300))
def test_the_piece_parser_takes_any_bytes(garbage: bytes) -> None:
    with pytest.raises(RecoveryError):
        Piece.decode(garbage, "x")


def test_three_different_officers_are_needed(officers: Private) -> None:
    for wrong in ([officers[0], officers[0], officers[1]], officers[:2]):
        with pytest.raises((RecoveryError, ValueError)):
            _officers(wrong)


@pytest.mark.parametrize("pair", [(0, 1), (2, 0), (1, 2)])
def test_the_drill(
    reopen: Callable[[], Keyring], places: list[Place], officers: Private, pair: tuple[int, int]
) -> None:
    """On a copy, while the keyring is in use, without the root key and without writing anything."""
    with reopen() as ring:
        gone, *_ = ring.new_subject_keys(4)
        ring.new_versions([gone.subject])
        ring.destroy_subjects([gone.subject])
        ring.roll()
        ring.new_subject_key()
        before = [(name, places[1].read(name)) for name in places[1].names()]
        found = drill(places[1], by_officers(places[1], *(officers[each] for each in pair)))
        status = ring.status()
        assert found == Drill(status.ring, 2, status.sequence, subjects=4, usable_versions=4, tombstones=1)
        assert [(name, places[1].read(name)) for name in places[1].names()] == before
        assert status.recovery


def test_officers_recover_to_a_new_host(
    reopen: Callable[[], Keyring], places: list[Place], officers: Private, tmp_path: Path
) -> None:
    """The first host is lost with its root key: the copy opens, gets a new root and a new second place."""
    with reopen() as ring:
        key, gone = ring.new_subject_keys(2)
        ring.destroy_subjects([gone.subject])
        ring.reserve_openings(7)
        ring.roll()
    shutil.rmtree(places[0].directory)
    (tmp_path / "root.key").unlink()
    new_place, new_root = Place(tmp_path / "new"), FileRoot.create(tmp_path / "new.key")
    new_place.directory.mkdir()
    lost, both = [places[0].directory], by_officers(places[1], *officers[:2])
    with Keyring.open([places[1], new_place], both, fill_empty=True, issued=7, lost=lost) as ring:
        with pytest.raises(RootUnavailable, match="root key to roll to"):
            ring.roll()
        ring.roll(root=new_root)
    with Keyring.open([places[1], new_place], new_root) as ring:
        assert ring.key(key.subject) == key
        assert ring.destroyed(gone.subject)
        assert ring.reserve_openings(1) == range(8, 9)
        assert ring.status().recovery


def test_a_roll_shuts_out_replaced_officers(
    reopen: Callable[[], Keyring], places: list[Place], officers: Private
) -> None:
    successors = [officers[0], X25519PrivateKey.generate(), X25519PrivateKey.generate()]
    with reopen() as ring:
        ring.roll(officers=_officers(successors))
        ring.roll()  # keeps those of the present slot
    assert drill(places[0], by_officers(places[0], successors[1], successors[2])).epoch == 3
    with pytest.raises(RecoveryError, match="none of those"):
        by_officers(places[0], officers[0], officers[1])


def test_a_copy_from_before_a_roll_opens_for_no_officer(
    reopen: Callable[[], Keyring], places: list[Place], officers: Private, tmp_path: Path
) -> None:
    with reopen() as ring:
        ring.new_subject_key()
    before = by_officers(places[1], officers[0], officers[1])
    copy = Place(Path(shutil.copytree(places[1].directory, tmp_path / "copy")))
    with reopen() as ring:
        ring.roll()
    for name in ("slot.0", "slot.1"):
        shutil.copy(places[1].path(name), copy.path(name))
    with pytest.raises(Damaged, match="destroyed"):
        drill(copy, before)
    with pytest.raises(RecoveryError, match="destroyed"):
        by_officers(copy, officers[0], officers[1])


def test_no_recovery_without_officers(places: list[Place], root: FileRoot, officers: Private) -> None:
    with Keyring.create(places, root, None) as ring:
        assert not ring.status().recovery
    with pytest.raises(KeyFailure, match="none of those"):
        by_officers(places[0], officers[0], officers[1])
    places[0].remove("snapshot")
    with pytest.raises(KeyFileMissing, match="directory of a copy"):
        slot_of(places[0])
