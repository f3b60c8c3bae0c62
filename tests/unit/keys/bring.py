"""What two officers do to open a copy."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sensmail.keys import PiecesRoot, Place, piece
from sensmail.keys.pieces import slot_of


def by_officers(place: Place, one: X25519PrivateKey, two: X25519PrivateKey) -> PiecesRoot:
    """Each has had the slot of this copy; their pieces meet here."""
    return PiecesRoot(piece(one, slot_of(place)), piece(two, slot_of(place)))
