"""Opening the personal items of one mailbox's owner, for a purpose, with who and why on record before it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sensmail.accounts import repository
from sensmail.accounts.errors import AccountError, InvalidValue
from sensmail.accounts.sealing import field_numbers, key_service, number_of
from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import Actor, Sealed
from sensmail.ledger import Entry, insert
from sensmail.ledger.entry import Detail
from sensmail.store import Connection

MAX_REASON = 1000  # characters


@dataclass(frozen=True)
class Shown:
    """What opened, by item, and for each item that did not, the refusal of the key service."""

    address: str
    items: Mapping[str, str] = field(repr=False)
    refused: Mapping[str, str]


def show(
    connection: Connection, address: str, purpose: str, actor: Actor, reason: str, keys: KeyService | None = None
) -> Shown:
    """Open every sealed item of the owner of `address`.

    The reason is committed as an access record of its own; the key service adds its record of the opening.

    Args:
        connection: session of role `sensmail-jobs`.
        address: canonical address of the mailbox.
        purpose: of the policy; the key service refuses what the caller may not.
        actor: who will see the values.
        reason: why, for the officer who reviews the records.
        keys: the key service; default: that of this host.

    Raises:
        AccountError: no such mailbox, or no reason.
        KeyServiceError: the key service refuses or cannot be reached; nothing was opened.
        LedgerError: the record was not kept.
    """
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidValue(f"a reason of 1 to {MAX_REASON} printable characters is needed; it stands in the records")
    found = repository.envelopes(connection, address)
    if found is None:
        raise AccountError(f"there is no mailbox {address}; `sensmail account list` shows them")
    numbers = field_numbers() if found.items else {}
    fields = {item: number_of(numbers, item) for item in found.items}
    detail: Detail = {"reason": reason, "fields": sorted(fields.values()), "phase": "begun"}
    entry = Entry(
        "access", "account.show", account=actor.account, origin=actor.origin, subject=found.subject,
        client=actor.client, purpose=purpose, detail=detail,
    )  # fmt: skip
    with connection.transaction():
        insert(connection, [entry])
    values = [
        Sealed(found.subject, number, row_key(found.subject), found.items[item]) for item, number in fields.items()
    ]
    with keys or key_service() as service:
        opened = dict(zip(fields, service.open_many(values, purpose, actor) if values else (), strict=True))
    return Shown(
        address,
        {item: each.value.decode() for item, each in opened.items() if each.value is not None},
        {item: each.refusal for item, each in opened.items() if each.value is None},
    )
