"""Any two of three officers open a copy without the root key; one alone learns nothing."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sensmail.keys import Drill, FileRoot, KeyFailure, Keyring, Officers, OfficersRoot, Place, drill
from sensmail.keys.errors import Damaged, RecoveryError, RootUnavailable
from sensmail.keys.recovery import RECOVERY_BYTES, join, officers_of, piece

KEY = bytes(range(32))
Private = list[X25519PrivateKey]


def _officers(private: Private) -> Officers:
    return Officers.of([each.public_key() for each in private])


@given(key=st.binary(min_size=32, max_size=32), context=st.binary(max_size=50))
def test_every_pair_recovers(officers: Private, key: bytes, context: bytes) -> None:
    blob = _officers(officers).wrap(key, context)
    assert len(blob) == RECOVERY_BYTES == 576
    assert officers_of(blob) == _officers(officers)
    for one, two in itertools.permutations(officers, 2):
        assert join(piece(one, blob, context), piece(two, blob, context)) == key


def test_one_officer_is_not_enough(officers: Private) -> None:
    blob = _officers(officers).wrap(KEY, b"")
    for each in officers:
        mine = piece(each, blob, b"")
        assert KEY not in mine.halves.values()
        with pytest.raises(RecoveryError, match="two different"):
            join(mine, mine)
        assert all(half.hex() not in repr(mine) and repr(half) not in repr(mine) for half in mine.halves.values())


def test_halves_are_fresh_for_every_pair_and_time(officers: Private) -> None:
    """Were a half used twice, one officer's two halves would cancel out to something about the key."""
    seen: set[bytes] = set()
    for _ in range(20):
        blob = _officers(officers).wrap(KEY, b"")
        halves = [half for each in officers for half in piece(each, blob, b"").halves.values()]
        seen |= set(halves)
    assert len(seen) == 20 * 6


def test_a_stranger_and_a_changed_part_are_refused(officers: Private) -> None:
    blob = _officers(officers).wrap(KEY, b"epoch 1")
    with pytest.raises(RecoveryError, match="none of those"):
        piece(X25519PrivateKey.generate(), blob, b"epoch 1")
    with pytest.raises(RecoveryError, match="another"):
        piece(officers[0], blob, b"epoch 2")
    with pytest.raises(RecoveryError, match="found 575"):
        piece(officers[0], blob[:-1], b"epoch 1")
    with pytest.raises(RecoveryError):
        piece(officers[0], b"", b"epoch 1")
    for at in range(RECOVERY_BYTES):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(RecoveryError):
            [piece(each, bytes(changed), b"epoch 1") for each in officers]


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
        found = drill(places[1], OfficersRoot(*(officers[each] for each in pair)))
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
    with Keyring.open([places[1], new_place], OfficersRoot(*officers[:2]), fill_empty=True, issued=7) as ring:
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
    assert drill(places[0], OfficersRoot(successors[1], successors[2])).epoch == 3
    with pytest.raises(RecoveryError):
        drill(places[0], OfficersRoot(officers[0], officers[1]))


def test_a_copy_from_before_a_roll_opens_for_no_officer(
    reopen: Callable[[], Keyring], places: list[Place], officers: Private, tmp_path: Path
) -> None:
    with reopen() as ring:
        ring.new_subject_key()
    copy = Place(Path(shutil.copytree(places[1].directory, tmp_path / "copy")))
    with reopen() as ring:
        ring.roll()
    for name in ("slot.0", "slot.1"):
        shutil.copy(places[1].path(name), copy.path(name))
    with pytest.raises(Damaged, match="destroyed"):
        drill(copy, OfficersRoot(officers[0], officers[1]))


def test_no_recovery_without_officers(places: list[Place], root: FileRoot, officers: Private) -> None:
    with Keyring.create(places, root, None) as ring:
        assert not ring.status().recovery
    with pytest.raises(KeyFailure, match="none of those"):
        drill(places[0], OfficersRoot(officers[0], officers[1]))
