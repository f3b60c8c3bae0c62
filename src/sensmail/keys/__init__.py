"""The key hierarchy: a root key wraps an epoch key, which encrypts the key file, which holds every subject's keys.

The formats are in docs/formats.md. `roots_pkcs11` and `roots_ncloud` are imported by whoever needs them, because they
need packages of their own.
"""

from __future__ import annotations

from sensmail.keys.drill import Drill, drill
from sensmail.keys.errors import KeyFailure
from sensmail.keys.keyring import Keyring
from sensmail.keys.material import KeyState, SubjectKey
from sensmail.keys.pieces import Piece, PiecesRoot, piece
from sensmail.keys.places import Place
from sensmail.keys.recovery import Officers
from sensmail.keys.roots import Destruction, FileRoot, Root, Roots
from sensmail.keys.state import Tombstone
from sensmail.keys.status import Status

__all__ = [
    "Destruction", "Drill", "FileRoot", "KeyFailure", "KeyState", "Keyring", "Officers", "Piece", "PiecesRoot", "Place",
    "Root", "Roots", "Status", "SubjectKey", "Tombstone", "drill", "piece",
]  # fmt: skip
