# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a table of nftables says, apart from how it is written. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

BYSTANDER = "sensmail_bystander"
TABLE = re.compile(r"(inet|ip|ip6|arp|bridge|netdev) ([A-Za-z_][A-Za-z0-9_]{0,31})")
# what the kernel counts or numbers; it differs between two tables that say the same
LIVE = frozenset({"handle", "packets", "bytes", "expires", "used"})


class NftError(Exception):
    """The ruleset, or the host, does not allow it. The message names both and the fix."""


@dataclass(frozen=True)
class Table:
    """Family and name, which together name one table of a host."""

    family: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `inet filter`.

        Raises:
            NftError: it is not a family and a name.
        """
        found = TABLE.fullmatch(text)
        if not found or found[2] == BYSTANDER:
            raise NftError(f"table: {text!r} is no table: write its family and its name, such as 'inet filter'")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{self.family} {self.name}"

    @property
    def removal(self) -> str:
        """Commands that leave the host without the table, whether it is there or not."""
        return f"table {self}\ndelete table {self}\n"

    def replacement(self, ruleset: str) -> str:
        """One transaction that puts `ruleset` in the place of the table: at no moment is there neither."""
        return self.removal + ruleset.rstrip("\n") + "\n"


def meaning(listing: str, table: Table) -> list[Any]:
    """What `nft --json list …` says about one table, in a form in which equal tables are equal.

    Elements of dynamic sets are left out: the traffic puts them there.

    Raises:
        NftError: it is not the listing of nft.
    """
    try:
        objects = json.loads(listing)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise NftError(f"nft --json answered something else than a listing: {listing[:200]!r}") from error
    return [_plain(one) for one in objects if _table_of(one) == table]


def tables(listing: str) -> set[Table]:
    """Every table in the output of `nft --json list ruleset`."""
    return {found for one in json.loads(listing)["nftables"] if (found := _table_of(one))}


def _table_of(one: dict[str, Any]) -> Table | None:
    kind, body = next(iter(one.items()))
    if kind == "metainfo":
        return None
    return Table(body["family"], body["name"] if kind == "table" else body["table"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        grows = "dynamic" in value.get("flags", ()) if isinstance(value.get("flags"), list) else False
        kept = {key: _plain(item) for key, item in value.items() if key not in LIVE and not (grows and key == "elem")}
        # the members of a set have no order of their own
        return {
            key: sorted(item, key=_text) if key in ("set", "elem") and isinstance(item, list) else item
            for key, item in kept.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
