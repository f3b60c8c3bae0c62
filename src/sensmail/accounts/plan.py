"""From what is there and what is wanted to the list of changes. Pure: the same input gives the same list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sensmail.accounts import password
from sensmail.accounts.address import domain_of
from sensmail.accounts.errors import AccountError
from sensmail.accounts.model import (
    DEFAULT_QUOTA_BYTES,
    DEFAULT_SEND_LIMIT_PER_HOUR,
    AppPasswordRow,
    Mailbox,
    Present,
    Tenant,
    Wanted,
    WantedAppPassword,
    WantedMailbox,
    WantedTenant,
)

_RETURNABLE = ("invited", "active", "retired")  # after that the data is on its way to destruction


@dataclass(frozen=True)
class TenantChange:
    """Insert (`before` is None) or update a tenant."""

    before: Tenant | None
    after: Tenant


@dataclass(frozen=True)
class DomainChange:
    """Give a new mail domain to a tenant."""

    name: str
    tenant: str


@dataclass(frozen=True)
class MailboxChange:
    """Insert (`before` is None) or update state, quota and send limit of a mailbox."""

    before: Mailbox | None
    after: Mailbox


@dataclass(frozen=True)
class PasswordChange:
    """Set the account password."""

    address: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class SealedChange:
    """Seal personal items of a mailbox's owner; `replaced` are those that held a value."""

    address: str
    items: Mapping[str, str] = field(repr=False)
    replaced: frozenset[str]


@dataclass(frozen=True)
class AppPasswordChange:
    """Issue (`before` is None), revoke (`after` is None) or alter the app password of one device."""

    address: str
    before: AppPasswordRow | None
    after: WantedAppPassword | None


@dataclass(frozen=True)
class AliasChange:
    """Replace the targets of an alias."""

    address: str
    before: frozenset[str]
    after: frozenset[str]


Change = TenantChange | DomainChange | MailboxChange | PasswordChange | SealedChange | AppPasswordChange | AliasChange


def plan(present: Present, wanted: Wanted) -> list[Change]:
    """The changes that lead from `present` to `wanted`, in an order in which they can be applied.

    Raises:
        AccountError: a domain of no tenant or of another one, a name used for mailbox and alias, an account that is
            being destroyed, or a new password that breaks the rule.
    """
    changes: list[Change] = []
    domains = dict(present.domains)
    for tenant in wanted.tenants:
        changes += _tenant(present.tenants.get(tenant.name), tenant)
        changes += _domains(domains, tenant)
    for mailbox in wanted.mailboxes:
        changes += _mailbox(present.mailboxes.get(mailbox.address), mailbox, domains)
    changes += _aliases(present, wanted, domains)
    return changes


def _tenant(before: Tenant | None, wanted: WantedTenant) -> Iterator[TenantChange]:
    start = wanted.contract_start or (before.contract_start if before else None)
    end = wanted.contract_end or (before.contract_end if before else None)
    if start and end and end < start:
        raise AccountError(f"tenant {wanted.name!r}: contract_end {end} is before contract_start {start}")
    after = Tenant(wanted.name, start, end)
    if after != before:
        yield TenantChange(before, after)


def _domains(known: dict[str, str], wanted: WantedTenant) -> Iterator[DomainChange]:
    for name in wanted.domains:
        owner = known.setdefault(name, "")
        if owner not in ("", wanted.name):
            raise AccountError(f"domain {name} belongs to tenant {owner!r}, not to {wanted.name!r}; correct `tenants`")
        if not owner:
            known[name] = wanted.name
            yield DomainChange(name, wanted.name)


def _mailbox(before: Mailbox | None, wanted: WantedMailbox, domains: Mapping[str, str]) -> Iterator[Change]:
    _hosted(wanted.address, domains)
    if before is None and not wanted.present:
        return
    if before and wanted.present and before.state not in _RETURNABLE:
        raise AccountError(
            f"mailbox {wanted.address} is {before.state}: its data is being destroyed and cannot come back; "
            "choose another address"
        )
    if before and not wanted.present:
        if before.state in ("invited", "active"):
            yield MailboxChange(before, replace(before, state="retired"))
        for row in before.app_passwords.values():
            yield AppPasswordChange(wanted.address, row, None)
        return
    after = Mailbox(
        wanted.address,
        "active",
        _first(wanted.quota_bytes, before.quota_bytes if before else None, DEFAULT_QUOTA_BYTES),
        _first(wanted.send_limit_per_hour, before.send_limit_per_hour if before else None, DEFAULT_SEND_LIMIT_PER_HOUR),
        before.password_hash if before else None,
        before.app_passwords if before else {},
        before.id if before else None,
        before.sealed if before else frozenset(),
    )
    if after != before:
        yield MailboxChange(before, after)
    yield from _password(before, wanted)
    yield from _sealed(before.sealed if before else frozenset(), wanted)
    for device in wanted.app_passwords:
        yield from _app_password(wanted.address, before.app_passwords.get(device.label) if before else None, device)


def _password(before: Mailbox | None, wanted: WantedMailbox) -> Iterator[PasswordChange]:
    if wanted.password is None:
        return
    stored = before.password_hash if before else None
    if stored and (wanted.password_on_create_only or password.verify(stored, wanted.password)):
        return
    password.check(wanted.password, wanted.address)
    yield PasswordChange(wanted.address, wanted.password)


def _sealed(stored: frozenset[str], wanted: WantedMailbox) -> Iterator[SealedChange]:
    """A stored value cannot be compared without opening it, so it is left alone unless it is to be replaced."""
    items = {
        item: text for item, text in wanted.sealed.items() if item not in stored or not wanted.sealed_on_create_only
    }
    if items:
        yield SealedChange(wanted.address, items, stored & items.keys())


def _app_password(
    address: str, before: AppPasswordRow | None, wanted: WantedAppPassword
) -> Iterator[AppPasswordChange]:
    if not wanted.present:
        if before:
            yield AppPasswordChange(address, before, None)
        return
    expires = wanted.expires or (before.expires if before else None)
    if before is None or (before.scope, before.expires) != (wanted.scope, expires):
        yield AppPasswordChange(address, before, replace(wanted, expires=expires))


def _aliases(present: Present, wanted: Wanted, domains: Mapping[str, str]) -> Iterator[AliasChange]:
    mailboxes = set(present.mailboxes) | {mailbox.address for mailbox in wanted.mailboxes if mailbox.present}
    aliases = {address for address, targets in present.aliases.items() if targets}
    for alias in wanted.aliases:
        _hosted(alias.address, domains)
        before = present.aliases.get(alias.address, frozenset())
        if alias.targets != before:
            yield AliasChange(alias.address, before, alias.targets)
        (aliases.add if alias.targets else aliases.discard)(alias.address)
    both = sorted(mailboxes & aliases)
    if both:
        raise AccountError(f"{both[0]} is a mailbox and cannot be an alias too; name the alias otherwise, or remove it")


def _hosted(address: str, domains: Mapping[str, str]) -> None:
    if domain_of(address) not in domains:
        raise AccountError(
            f"domain {domain_of(address)} of {address} belongs to no tenant; "
            "list it under a tenant's `domains` (module sensmail.cloud.account)"
        )


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
