"""Accounts and the key service: an id and a key for each new subject, envelopes for personal items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from sensmail.accounts.errors import AccountError
from sensmail.accounts.model import Envelopes, Present
from sensmail.accounts.plan import Change, MailboxChange, SealedChange
from sensmail.fields import row_key
from sensmail.keyd import policy, protocol
from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import MAX_ITEMS, Sealing

SOCKET = protocol.SOCKET
TABLE = "accounts.subject"
T = TypeVar("T")


def key_service() -> KeyService:
    """The key service of this host."""
    return KeyService(SOCKET)


def field_numbers() -> dict[str, int]:
    """Permanent field numbers of the sealed columns of `accounts.subject`, by column. Raises NoPolicy."""
    return {each.column: each.field for each in policy.read().sealed if each.table == TABLE}


def number_of(numbers: Mapping[str, int], item: str) -> int:
    """The field number of an item. Raises AccountError when the data map does not name it."""
    if item not in numbers:
        raise AccountError(
            f"the policy's data map has no sealed column {TABLE}.{item}; add it in policy.yml and deploy"
        )
    return numbers[item]


def ready(changes: Sequence[Change], present: Present, keys: KeyService) -> list[Change | Envelopes]:
    """The changes as they can be written: new mailboxes with the id of their key, personal items sealed.

    A key whose row is never written (the transaction is rolled back) is harmless. A row from before there was a key
    service gets its key here, but only while it holds nothing sealed: a key that is missing then was lost.

    Raises:
        AccountError: the data map does not name an item.
        KeyServiceError: no policy; or no key, or no envelope, could be made.
    """
    sealed = [change for change in changes if isinstance(change, SealedChange)]
    numbers = field_numbers() if sealed else {}
    known = {address: mailbox.id for address, mailbox in present.mailboxes.items() if mailbox.id}
    ids = known | _new(changes, keys)
    bare = {each.address for each in sealed if each.address in known and not present.mailboxes[each.address].sealed}
    for part in _parts([known[address] for address in sorted(bare)]):
        keys.adopt(part)
    values = [
        Sealing(ids[each.address], number_of(numbers, item), row_key(ids[each.address]), text.encode())
        for each in sealed
        for item, text in each.items.items()
    ]
    envelopes = iter([envelope for part in _parts(values) for envelope in keys.seal(part)])
    result: list[Change | Envelopes] = []
    for change in changes:
        match change:
            case MailboxChange(None, after):
                result.append(replace(change, after=replace(after, id=ids[after.address])))
            case SealedChange(address, items):
                result.append(Envelopes(ids[address], {item: next(envelopes) for item in items}))
            case _:
                result.append(change)
    return result


def _new(changes: Sequence[Change], keys: KeyService) -> dict[str, UUID]:
    new = [change.after.address for change in changes if isinstance(change, MailboxChange) and change.before is None]
    return {
        address: subject
        for part in _parts(new)
        for address, subject in zip(part, keys.new_subjects(len(part)), strict=True)
    }


def _parts(entries: Sequence[T]) -> list[Sequence[T]]:
    return [entries[start : start + MAX_ITEMS] for start in range(0, len(entries), MAX_ITEMS)]
