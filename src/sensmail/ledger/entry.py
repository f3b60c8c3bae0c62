"""One record: who did what to whose data, when, from where, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from sensmail.ledger.errors import UnknownDetail

Detail = Mapping[str, str | int | list[int] | list[str]]

#: What `detail` may hold, never a value of a person. Free words stand in `reason` alone, which an officer reviews.
DETAIL_KEYS = frozenset(
    {
        "approver", "bytes", "code", "command", "count", "days", "deleted", "digest", "epoch", "fields", "first",
        "from", "generation", "hold", "items", "job", "last", "ledger", "lost", "message", "method", "path", "phase",
        "read", "reason", "refused", "repeated", "rewrap", "ring", "root", "rows", "sealed", "seconds", "sequence",
        "session", "size", "table", "target", "to", "verdict",
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
        acted_at: when it was done, where that is not now. clock: what is known of the clock that says so. Only the
            collector writes these.
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
    acted_at: datetime | None = None
    clock: str = ""

    def __post_init__(self) -> None:
        unknown = self.detail.keys() - DETAIL_KEYS
        if unknown:
            text = f"record {self.act}: detail {', '.join(sorted(unknown))} is not on the list in sensmail.ledger.entry"
            raise UnknownDetail(f"{text}; add it there if it can hold no value of a person")
