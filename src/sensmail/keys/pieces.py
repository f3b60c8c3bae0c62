"""What two officers bring to open a copy: their pieces, so that their private keys never meet on one machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import slot, snapshot
from sensmail.keys.errors import KeyFileMissing, RecoveryError, RootUnavailable
from sensmail.keys.material import KEY_BYTES
from sensmail.keys.places import Place
from sensmail.keys.recovery import PAIRS, Pair, halves, xor
from sensmail.keys.roots import Destruction

FORMAT = "sensmail officer piece v1"


@dataclass(frozen=True)
class Piece:
    """One officer's halves of one epoch key. It tells nothing without a second piece; two of an epoch are its key."""

    ring: bytes
    epoch: int
    officer: int  # 0, 1 or 2, in the order of the slot
    recovery: bytes  # SHA-256 of the recovery part that it was made from
    halves: dict[Pair, bytes] = field(repr=False)

    def encode(self) -> bytes:
        """The piece file; docs/formats.md describes it."""
        document = {
            "format": FORMAT,
            "ring": self.ring.hex(),
            "epoch": self.epoch,
            "officer": self.officer,
            "recovery": self.recovery.hex(),
            "halves": {f"{one}-{two}": half.hex() for (one, two), half in sorted(self.halves.items())},
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, where: str) -> Piece:
        """Read what `encode` wrote.

        Raises:
            RecoveryError: not a piece file of this format; `where` names it, and nothing of its content is shown.
        """
        try:
            return cls._parse(json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError):
            fix = "make it again with `sensmail keys piece`"
            raise RecoveryError(f"{where}: not a whole piece file of format {FORMAT!r}; {fix}") from None

    @classmethod
    def _parse(cls, document: dict[str, Any]) -> Piece:
        officer, epoch, named = document["officer"], document["epoch"], document["halves"]
        held = {(one, two): bytes.fromhex(named[f"{one}-{two}"]) for one, two in PAIRS if officer in {one, two}}
        found = cls(bytes.fromhex(document["ring"]), epoch, officer, bytes.fromhex(document["recovery"]), held)
        lengths = [len(found.ring), len(found.recovery), *map(len, held.values())]
        if type(epoch) is not int or type(officer) is not int or lengths != [16, 32, KEY_BYTES, KEY_BYTES]:
            raise ValueError
        if json.loads(found.encode()) != document:  # another format, a member more, another way of writing
            raise ValueError
        return found


def slot_of(place: Place) -> bytes:
    """The slot of a copy, which is what officers are handed: 4096 bytes that tell nothing without their keys.

    Raises:
        KeyFileMissing, Damaged, PlaceUnreachable.
    """
    data = place.read(snapshot.NAME)
    if data is None:
        raise KeyFileMissing(f"{place}: holds no key file; name the directory of a copy")
    name = slot.name(snapshot.header(data, str(place)).epoch)
    held = place.read(name)
    slot.parse(held, f"{place}: {name}")
    return held or b""


def piece(private: X25519PrivateKey, slot_bytes: bytes) -> Piece:
    """An officer's act, on the officer's own offline machine.

    Raises:
        RecoveryError: the key is none of the three, or the slot was changed. Damaged: not a slot, or a destroyed one.
    """
    found = slot.parse(slot_bytes, "slot")
    if not found.live:
        raise RecoveryError(f"slot: the key of epoch {found.epoch} is destroyed; take the slot of the copy's epoch")
    officer, held = halves(private, found.recovery, slot.context(found.ring, found.epoch))
    return Piece(found.ring, found.epoch, officer, sha256(found.recovery).digest(), held)


def join(one: Piece, two: Piece) -> bytes:
    """The epoch key from the pieces of two different officers.

    Raises:
        RecoveryError: both pieces come from one officer, or they are of different epochs.
    """
    if (one.ring, one.epoch, one.recovery) != (two.ring, two.epoch, two.recovery):
        raise RecoveryError(f"the pieces do not belong together: epoch {one.epoch} and {two.epoch}; make both anew")
    pair = (min(one.officer, two.officer), max(one.officer, two.officer))
    if pair not in PAIRS:
        raise RecoveryError("two different officers are needed; both pieces come from one")
    return xor(one.halves[pair], two.halves[pair])


class PiecesRoot:
    """Two pieces in the stead of the root key: opens a copy, wraps nothing. Roll to a real root after opening."""

    provider = "officers"
    destruction = Destruction("none", "The officers' own keys; they are not this system's to destroy.")
    slot_part: Literal["wrapped", "recovery"] = "recovery"

    def __init__(self, one: Piece, two: Piece) -> None:
        self._pieces = one, two

    def identity(self) -> bytes:
        """No root key of this system: zeros."""
        return bytes(16)

    def wrap(self, key: bytes, context: bytes) -> bytes:  # noqa: ARG002  the interface of a root
        """Refused: officers recover, they do not run a host."""
        raise RootUnavailable("two officers open a copy, but wrap no key; name a root key to roll to")

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The epoch key, where the pieces were made from this recovery part. Raises RecoveryError."""
        one, two = self._pieces
        if slot.context(one.ring, one.epoch) != context or sha256(wrapped).digest() != one.recovery:
            text = f"the pieces are of epoch {one.epoch} of key file {one.ring.hex()}, this copy is not"
            raise RecoveryError(f"{text}; hand its slot to the officers again")
        return join(one, two)

    def destroy(self) -> None:
        """Refused."""
        raise RootUnavailable("the officers' keys are not this system's to destroy")

    def gone(self) -> bool:
        """Never: two officers hold them."""
        return False
