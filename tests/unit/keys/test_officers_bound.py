"""Who can write a place but holds no key changes no officer: the root binds the recovery part of the slot."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import Keyring, Officers, Place, slot
from sensmail.keys.errors import Damaged, RecoveryError, WrongRoot
from sensmail.keys.pieces import piece
from sensmail.keys.replicas import Replicas
from sensmail.keys.slot import Slot
from unit.keys.bring import by_officers

Private = list[X25519PrivateKey]
Open = Callable[[], Keyring]


def _strangers() -> bytes:
    """A recovery part that is right in itself, but for officers of somebody else's choice."""
    made = Officers.of([X25519PrivateKey.generate().public_key() for _ in range(3)])
    return made.wrap(os.urandom(32), slot.context(b"r" * 16, 1))


def altered(held: Slot) -> list[Slot]:
    """Other officers, one officer's key changed, one bit of a half changed, none at all."""
    part = held.recovery
    one_officer = part[:64] + X25519PrivateKey.generate().public_key().public_bytes_raw() + part[96:]
    others = [_strangers(), one_officer, part[:-1] + bytes([part[-1] ^ 1]), b""]
    return [dataclasses.replace(held, recovery=each) for each in others]


def _overwrite(place: Place, other: Slot) -> None:
    place.overwrite(slot.name(other.epoch), other.pack())


def test_a_key_file_with_other_officers_does_not_open(reopen: Open, places: list[Place]) -> None:
    """Neither when all places were changed in the same way, so that they agree."""
    reopen().close()
    good = slot.parse(places[0].read("slot.1"), "x")
    for other in altered(good):
        for place in places:
            _overwrite(place, other)
            with pytest.raises(WrongRoot, match="slot was changed"):
                reopen()
        for place in places:
            _overwrite(place, good)
    reopen().close()


def test_a_roll_refuses_a_slot_that_was_changed_meanwhile(reopen: Open, places: list[Place], officers: Private) -> None:
    with reopen() as ring:
        for epoch in (1, 2):  # as opened or made, and as last rolled
            good = slot.parse(places[0].read(slot.name(epoch)), "x")
            before = ring.status()
            for other in altered(good):
                _overwrite(places[0], other)
                with pytest.raises(Damaged, match=rf"first: slot.{epoch % 2} was changed since"):
                    ring.roll()
                _overwrite(places[0], good)
                assert ring.status() == before
            assert ring.roll() == epoch + 1
    assert by_officers(places[0], officers[0], officers[1])
    with reopen() as ring:
        assert ring.status().officers == tuple(each.public_key().public_bytes_raw().hex() for each in officers)


@pytest.mark.parametrize("changed", range(3))
def test_a_changed_officer_is_noticed_by_the_other_two(
    reopen: Open, places: list[Place], officers: Private, changed: int
) -> None:
    """Without the root: what two officers open has the third that it was encrypted to."""
    reopen().close()
    held = slot.parse(places[0].read("slot.1"), "x")
    part = bytearray(held.recovery)
    part[32 * changed : 32 * changed + 32] = X25519PrivateKey.generate().public_key().public_bytes_raw()
    other = dataclasses.replace(held, recovery=bytes(part)).pack()
    for number, officer in enumerate(officers):
        with pytest.raises(RecoveryError, match="was changed" if number != changed else "is none of those"):
            piece(officer, other)
        piece(officer, held.pack())


def test_officers_come_from_the_slot_that_was_opened(
    reopen: Open, places: list[Place], officers: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change right after the check reaches nobody: the file is not read for officers."""
    reopen().close()
    other = altered(slot.parse(places[0].read("slot.1"), "x"))[0]
    check = Replicas.require_slot

    def check_then_change(held: Replicas) -> None:
        check(held)
        _overwrite(places[0], other)

    monkeypatch.setattr(Replicas, "require_slot", check_then_change)
    with reopen() as ring:
        ring.roll()
    assert by_officers(places[0], officers[0], officers[2])
