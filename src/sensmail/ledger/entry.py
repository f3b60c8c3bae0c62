"""One record: who did what to whose data, when, from where, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from sensmail.ledger.errors import UnknownDetail

Detail = Mapping[str, str | int | list[int] | list[str]]

#: What `detail` may hold, never a value of a person. Free words stand in `reason` alone, which an officer reviews.
DETAIL_KEYS = frozenset(
    {
        "approver", "code", "count", "days", "digest", "epoch", "fields", "first", "generation", "hold", "items", "job",
        "ledger", "lost", "phase", "reason", "refused", "repeated", "rewrap", "ring", "root", "rows", "sealed",
        "sequence", "size", "table",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of `records.inbox`, before the database gives it a number and its time.

    Attributes:
        ledger: `access`: somebody saw or handled a person's data. `governance`: rights, keys, purges, requests.
        act: lower case, for example `open` or `keys.roll`.
        account: who, as the caller says. unit: which systemd unit asked, as the kernel says.
        origin: address or terminal. client: program.
        opening: number of the opening; only the key service counts these.
    """

    ledger: Literal["access", "governance"]
    act: str
    account: str = ""
    origin: str = ""
    subject: UUID | None = None
    client: str = ""
    purpose: str = ""
    outcome: Literal["done", "refused", "failed", "void"] = "done"
    unit: str = ""
    opening: int | None = None
    detail: Detail = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = self.detail.keys() - DETAIL_KEYS
        if unknown:
            text = f"record {self.act}: detail {', '.join(sorted(unknown))} is not on the list in sensmail.ledger.entry"
            raise UnknownDetail(f"{text}; add it there if it can hold no value of a person")
