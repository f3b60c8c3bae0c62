"""From the plain data of a playbook or a command line to `Wanted`, every value checked and in canonical form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from sensmail.accounts import app_password
from sensmail.accounts.address import canonical_address, canonical_domain, canonical_target
from sensmail.accounts.errors import InvalidValue
from sensmail.accounts.model import Wanted, WantedAlias, WantedAppPassword, WantedMailbox, WantedTenant
from sensmail.accounts.personal import ITEMS, canonical_item

_SIZE = re.compile(r"([1-9][0-9]{0,17})([KMGT]?)")
_FACTOR = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MAX_BIGINT = 2**63 - 1
_MAX_SEND_LIMIT = 1_000_000
_MAX_TENANT_NAME = 200
_KOREA = timezone(timedelta(hours=9))


def wanted(
    tenants: Sequence[Mapping[str, Any]] = (),
    accounts: Sequence[Mapping[str, Any]] = (),
    aliases: Sequence[Mapping[str, Any]] = (),
) -> Wanted:
    """Everything one call asks for; keys as in the documentation of module `sensmail.cloud.account`.

    Raises:
        InvalidValue: a value breaks its rule, or an address, tenant, label or alias is listed twice.
    """
    result = Wanted(
        tenants=tuple(_tenant(item) for item in tenants),
        mailboxes=tuple(_mailbox(item) for item in accounts),
        aliases=tuple(_alias(item) for item in aliases),
    )
    _unique("tenant", (tenant.name for tenant in result.tenants))
    _unique("domain", (domain for tenant in result.tenants for domain in tenant.domains))
    _unique("account", (mailbox.address for mailbox in result.mailboxes))
    _unique("alias", (alias.address for alias in result.aliases))
    return result


def size(text: str | int) -> int:
    """Bytes from `5G`, `500M`, `1048576`; units are powers of 1024.

    Raises:
        InvalidValue: not a size, zero, or more than the database can hold.
    """
    match = _SIZE.fullmatch(str(text).strip().upper())
    value = int(match[1]) * _FACTOR[match[2]] if match else 0
    if not 0 < value <= _MAX_BIGINT:
        raise InvalidValue(f"quota {text!r} is not a size; write bytes, or a number with K, M, G or T, such as 5G")
    return value


def moment(value: str | date | None) -> datetime | None:
    """A point in time from ISO 8601; a bare date means the end of that day in Korea.

    Raises:
        InvalidValue: not ISO 8601, or a time without zone.
    """
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, date) else value.strip()
    try:
        if len(text) == len("2027-01-31"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), _KOREA).astimezone(UTC)
        result = datetime.fromisoformat(text)
        if result.tzinfo is None:
            raise ValueError("no time zone")
        return result.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"expires {text!r}: write a date (2027-01-31) or a time with zone ({error})") from error


def day(name: str, value: str | date | None) -> date | None:
    """A calendar day from ISO 8601.

    Raises:
        InvalidValue: not a date.
    """
    if value is None or type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise InvalidValue(f"{name} {value!r}: write a date such as 2027-01-31") from error


def device(item: Mapping[str, Any]) -> WantedAppPassword:
    """One app password: `label`, `scope`, `expires`, `state`."""
    return WantedAppPassword(
        label=app_password.check_label(item["label"]),
        scope=app_password.check_scope(item.get("scope") or app_password.DEFAULT_SCOPE),
        expires=moment(item.get("expires")),
        present=_present(item),
    )


def _tenant(item: Mapping[str, Any]) -> WantedTenant:
    name = item["name"].strip()
    if not 1 <= len(name) <= _MAX_TENANT_NAME or not name.isprintable():
        raise InvalidValue(f"tenant name {item['name']!r}: 1 to {_MAX_TENANT_NAME} printable characters")
    return WantedTenant(
        name=name,
        domains=tuple(canonical_domain(domain) for domain in item.get("domains") or ()),
        contract_start=day(f"tenant {name!r} contract_start", item.get("contract_start")),
        contract_end=day(f"tenant {name!r} contract_end", item.get("contract_end")),
    )


def _mailbox(item: Mapping[str, Any]) -> WantedMailbox:
    address = canonical_address(item["address"])
    devices = tuple(device(entry) for entry in item.get("app_passwords") or ())
    _unique(f"app password label of {address}", (entry.label for entry in devices))
    quota, limit = item.get("quota"), item.get("send_limit_per_hour")
    if limit is not None and not 0 <= limit <= _MAX_SEND_LIMIT:
        raise InvalidValue(f"send_limit_per_hour {limit} of {address}: 0 (may not send) to {_MAX_SEND_LIMIT}")
    return WantedMailbox(
        address=address,
        present=_present(item),
        quota_bytes=None if quota is None else size(quota),
        send_limit_per_hour=limit,
        password=item.get("password"),
        password_on_create_only=item.get("update_password", "on_create") == "on_create",
        app_passwords=devices,
        sealed={name: canonical_item(name, text, address) for name in ITEMS if (text := item.get(name)) is not None},
        sealed_on_create_only=(item.get("update_sealed") or "on_create") == "on_create",
    )


def _alias(item: Mapping[str, Any]) -> WantedAlias:
    targets = frozenset(canonical_target(target) for target in item.get("targets") or ())
    return WantedAlias(canonical_address(item["address"]), targets)


def _present(item: Mapping[str, Any]) -> bool:
    return (item.get("state") or "present") == "present"


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidValue(f"{kind} {name!r} is listed twice; keep one entry")
        seen.add(name)
