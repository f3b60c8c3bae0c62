"""What each unit may ask, and which item may be opened for what: `/etc/sensmail/policy.json`.

A unit that the policy does not list gets nothing. The file is read again when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sensmail.keyd import policy
from sensmail.keyd.caller import Caller
from sensmail.keyd.errors import Refused

# Duties to the person: they may open every item, because what the person asks for is all of it.
DUTIES = frozenset({"own_data", "request", "notice"})


@dataclass(frozen=True)
class Right:
    """What one unit may."""

    acts: frozenset[str]
    purposes: frozenset[str]
    openings_per_minute: int = 0
    new_subjects_per_minute: int = 0


class Item(NamedTuple):
    """A sealed item of the data map."""

    name: str
    purposes: frozenset[str]


@dataclass(frozen=True)
class Rights:
    """The policy, as far as it concerns keys."""

    units: dict[str, Right]
    items: dict[int, Item]
    keys: policy.Keys

    def may(self, caller: Caller, act: str) -> Right:
        """The rights of a caller that may ask for this act. Raises Refused."""
        right = self.units.get(caller.unit)
        who = caller.unit or f"a process whose unit cannot be told (uid {caller.uid}, pid {caller.pid})"
        if right is None:
            raise Refused(f"{who}: not listed in art4.encryption.keys.callers of the policy")
        if act not in right.acts:
            raise Refused(f"{who}: {act} is not among its acts in the policy ({', '.join(sorted(right.acts))})")
        return right

    def may_open(self, caller: Caller, right: Right, purpose: str, fields: set[int]) -> None:
        """Raise Refused unless this caller may open all of these fields for this purpose."""
        if purpose not in right.purposes:
            known = ", ".join(sorted(right.purposes)) or "none"
            raise Refused(f"{caller.unit}: purpose {purpose} is not among its purposes in the policy ({known})")
        for number in sorted(fields):
            item = self.item(number)
            if purpose not in item.purposes and purpose not in DUTIES:
                raise Refused(f"field {number} ({item.name}) is not kept for purpose {purpose}; see the data map")

    def item(self, number: int) -> Item:
        """The sealed item with this field number. Raises Refused."""
        item = self.items.get(number)
        if item is None:
            raise Refused(f"field {number}: the data map of the policy has no sealed item of that number")
        return item


def rights_of(document: policy.Policy) -> Rights:
    """What follows from the applied policy."""
    units: dict[str, Right] = {}
    for line in document.keys.callers:
        before = units.get(line.unit, Right(frozenset(), frozenset()))
        units[line.unit] = Right(
            before.acts | set(line.acts),
            before.purposes | set(line.purposes),
            max(before.openings_per_minute, line.openings_per_minute or 0),
            max(before.new_subjects_per_minute, line.new_subjects_per_minute or 0),
        )
    items = {each.field: Item(each.item, frozenset(each.purposes)) for each in document.sealed}
    return Rights(units, items, document.keys)


class RightsFile:
    """The policy on disk; looked at for each call, read when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._rights: Rights | None = None

    def current(self) -> Rights:
        """The rights in force.

        Raises:
            NoPolicy: nothing is allowed then.
        """
        try:
            stat = self._path.stat()
        except OSError:
            stat = None
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size) if stat else None
        if self._rights is None or seen != self._seen:
            self._rights = None
            self._rights, self._seen = rights_of(policy.read(self._path)), seen
        return self._rights
