"""What is wanted and what is there, as plain values. No database, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

DEFAULT_QUOTA_BYTES = 5 * 1024**3
DEFAULT_SEND_LIMIT_PER_HOUR = 200


@dataclass(frozen=True)
class WantedTenant:
    """A public institution and the mail domains it brings. A date of None is left as it is."""

    name: str
    domains: tuple[str, ...] = ()
    contract_start: date | None = None
    contract_end: date | None = None


@dataclass(frozen=True)
class WantedAppPassword:
    """One device. `expires` of None: never on issue, untouched later."""

    label: str
    scope: tuple[str, ...]
    expires: datetime | None = None
    present: bool = True


@dataclass(frozen=True)
class WantedMailbox:
    """One mailbox; its tenant follows from its domain. None means: the default on creation, untouched later."""

    address: str
    present: bool = True
    quota_bytes: int | None = None
    send_limit_per_hour: int | None = None
    password: str | None = field(default=None, repr=False)
    password_on_create_only: bool = True
    app_passwords: tuple[WantedAppPassword, ...] = ()
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)  # personal item → value
    sealed_on_create_only: bool = True


@dataclass(frozen=True)
class WantedAlias:
    """Every address that mail for `address` goes to; none removes the alias."""

    address: str
    targets: frozenset[str]


@dataclass(frozen=True)
class Wanted:
    """Everything one call asks for."""

    tenants: tuple[WantedTenant, ...] = ()
    mailboxes: tuple[WantedMailbox, ...] = ()
    aliases: tuple[WantedAlias, ...] = ()


@dataclass(frozen=True)
class Tenant:
    """A tenant as stored."""

    name: str
    contract_start: date | None = None
    contract_end: date | None = None


@dataclass(frozen=True)
class AppPasswordRow:
    """An app password that is not revoked, as stored, without its hash."""

    selector: str
    label: str
    scope: tuple[str, ...]
    expires: datetime | None
    created: datetime
    last_used: datetime | None = None


@dataclass(frozen=True)
class Mailbox:
    """A mailbox as stored. `state`: invited, active, retired, due or destroyed."""

    address: str
    state: str
    quota_bytes: int
    send_limit_per_hour: int
    password_hash: str | None = field(default=None, repr=False)
    app_passwords: Mapping[str, AppPasswordRow] = field(default_factory=dict)
    id: UUID | None = None  # None: not made yet
    sealed: frozenset[str] = frozenset()  # personal items that are stored


@dataclass(frozen=True)
class Envelopes:
    """Sealed items of one subject, by column of `accounts.subject`."""

    subject: UUID
    items: Mapping[str, bytes]


@dataclass(frozen=True)
class Present:
    """The part of the database that a `Wanted` speaks of."""

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)  # domain → tenant name
    mailboxes: Mapping[str, Mailbox] = field(default_factory=dict)
    aliases: Mapping[str, frozenset[str]] = field(default_factory=dict)
