"""Changes in words, as one text before and one after. Never a secret, never a hash."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sensmail.accounts.model import AppPasswordRow, Mailbox, Tenant, WantedAppPassword
from sensmail.accounts.plan import (
    AliasChange,
    AppPasswordChange,
    Change,
    DomainChange,
    MailboxChange,
    PasswordChange,
    SealedChange,
    TenantChange,
)


def describe(changes: Iterable[Change]) -> tuple[str, str]:
    """The text before and after all changes; only what differs, one fact a line."""
    pairs = [_lines(change) for change in changes]
    before = "".join(f"{line}\n" for lines, _ in pairs for line in lines)
    after = "".join(f"{line}\n" for _, lines in pairs for line in lines)
    return before, after


def _lines(change: Change) -> tuple[list[str], list[str]]:
    match change:
        case TenantChange(before, after):
            return _differing(f"tenant {after.name}", _tenant(before), _tenant(after))
        case DomainChange(name, tenant):
            return [], [f"domain {name}: tenant {tenant}"]
        case MailboxChange(before, after):
            return _differing(f"mailbox {after.address}", _mailbox(before), _mailbox(after))
        case PasswordChange(address):
            return [], [f"mailbox {address}: new account password"]
        case SealedChange(address, items, replaced):
            return (
                [f"mailbox {address}: {item} sealed" for item in items if item in replaced],
                [f"mailbox {address}: {item} sealed{' anew' if item in replaced else ''}" for item in items],
            )
        case AppPasswordChange(address, before, after):
            label = (before or after).label  # type: ignore[union-attr]  # one of the two is always there
            return _differing(f"mailbox {address} app password {label!r}", _device(before), _device(after))
        case AliasChange(address, before, after):
            return (
                [f"alias {address}: {target}" for target in sorted(before - after)],
                [f"alias {address}: {target}" for target in sorted(after - before)],
            )


def _differing(name: str, before: dict[str, str], after: dict[str, str]) -> tuple[list[str], list[str]]:
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return (
        [f"{name}: {key} {before[key]}" for key in keys if key in before],
        [f"{name}: {key} {after[key]}" for key in keys if key in after],
    )


def _tenant(tenant: Tenant | None) -> dict[str, str]:
    if tenant is None:
        return {}
    return {"contract": f"{tenant.contract_start or 'open'} to {tenant.contract_end or 'open'}"}


def _mailbox(mailbox: Mailbox | None) -> dict[str, str]:
    if mailbox is None:
        return {}
    return {
        "state": mailbox.state,
        "quota": f"{mailbox.quota_bytes} bytes",
        "send limit": f"{mailbox.send_limit_per_hour} an hour",
    }


def _device(device: AppPasswordRow | WantedAppPassword | None) -> dict[str, str]:
    if device is None:
        return {}
    return {"opens": ", ".join(device.scope), "expires": _moment(device.expires)}


def _moment(value: datetime | None) -> str:
    return value.isoformat(timespec="minutes") if value else "never"
