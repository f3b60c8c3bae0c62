"""What a parser makes of a line: an act of somebody, a line to refuse, or nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Outcome = Literal["done", "refused", "failed"]


class Kind(Enum):
    """What sort of name an account is, which decides how it is told from a mistyped password."""

    MAIL = "mail"  # known: an address of a mailbox here
    HOST = "host"  # known: an account of this host
    ROLE = "role"  # a role of the database, which PostgreSQL had let in before it wrote the line
    NOBODY = "nobody"  # no name at all


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what, before the name was looked up.

    Attributes:
        act, account, origin, client, purpose, outcome, detail: as in `sensmail.ledger.Entry`.
        kind: what `account` is a name of.
    """

    act: str
    purpose: str
    account: str = ""
    kind: Kind = Kind.NOBODY
    origin: str = ""
    client: str = ""
    outcome: Outcome = "done"
    detail: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that no record can be made of. `reason` never quotes it."""

    reason: str


Found = Act | Refused | None


def address(text: str) -> str:
    """An IP address in its usual form; empty where it is none, so that a name a client chose never stands for one."""
    try:
        parsed = ipaddress.ip_address(text.removeprefix("IPv6:").partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
