"""The applied policy of this host, as far as it concerns keys: `/etc/sensmail/policy.json`, written by role `policy`.

Everybody on the host who acts by it reads it here: the key service, rotation, accounts, and the commands of root.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from sensmail.keyd.errors import Refused, Unavailable

PATH = Path("/etc/sensmail/policy.json")
_FIX = "role policy writes it: run site.yml of this release"


class NoPolicy(Unavailable):
    """The host has no applied policy, or one of another release; nothing is allowed then."""


class Caller(msgspec.Struct, frozen=True):
    """What one unit of systemd may ask of the key service."""

    unit: str
    acts: list[str]
    purposes: list[str] = []
    openings_per_minute: int | None = None
    new_subjects_per_minute: int | None = None


class Keys(msgspec.Struct, frozen=True):
    """Who may ask, when keys change (days), and the role whose approval ends keys for good."""

    callers: list[Caller]
    approval: str
    epoch_days: int
    reseal_days: int
    root_days: int
    kept_for_restore_days: int

    def require_approval(self, act: str, approver: str) -> None:
        """Raise Refused unless the role that the policy names has approved."""
        if approver != self.approval:
            found = f"{approver!r} approved" if approver else "none was given"
            raise Refused(f"{act}: the policy asks for the approval of {self.approval}, but {found}")


class Column(msgspec.Struct, frozen=True):
    """One line of the data map; `table` is schema.table, `subject` the column that names the person of a row."""

    table: str
    column: str
    field: int
    protection: str
    item: str
    purposes: list[str] = []
    subject: str | None = None


class _Applied(msgspec.Struct, frozen=True):
    keys: Keys


class Policy(msgspec.Struct, frozen=True):
    """The document."""

    applied: _Applied
    data_map: list[Column]

    @property
    def keys(self) -> Keys:
        """Callers, intervals, approval."""
        return self.applied.keys

    @property
    def sealed(self) -> list[Column]:
        """The columns that hold sealed values."""
        return [each for each in self.data_map if each.protection == "sealed"]


def read(path: Path | None = None) -> Policy:
    """Read the applied policy.

    Raises:
        NoPolicy: missing, not readable, or not what this release reads.
    """
    path = path or PATH
    try:
        return _DECODER.decode(path.read_bytes())
    except OSError as error:
        raise NoPolicy(f"{path}: cannot be read ({error.strerror}); {_FIX}") from error
    except msgspec.MsgspecError as error:
        raise NoPolicy(f"{path}: {error}; {_FIX}") from error


_DECODER = msgspec.json.Decoder(Policy)
