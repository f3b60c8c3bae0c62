"""The key hierarchy: a root key wraps an epoch key, which encrypts the key file, which holds every subject's keys.

The formats are in docs/formats.md. `roots_pkcs11` is imported by whoever needs it, because it needs a package more.
"""

from __future__ import annotations

from sensmail.keys.drill import Drill, drill
from sensmail.keys.errors import KeyFailure
from sensmail.keys.keyring import Keyring, Status
from sensmail.keys.material import KeyState, SubjectKey
from sensmail.keys.places import Place
from sensmail.keys.recovery import Officers, OfficersRoot
from sensmail.keys.roots import Destruction, FileRoot, Root
from sensmail.keys.state import Tombstone

__all__ = [
    "Destruction", "Drill", "FileRoot", "KeyFailure", "KeyState", "Keyring", "Officers", "OfficersRoot", "Place",
    "Root", "Status", "SubjectKey", "Tombstone", "drill",
]  # fmt: skip
