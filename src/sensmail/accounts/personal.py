"""The sealed items of a mailbox's owner: their names and their form. No error text holds a value: logs keep errors."""

from __future__ import annotations

import unicodedata

from sensmail.accounts.address import canonical_target
from sensmail.accounts.errors import InvalidValue

#: Columns of `accounts.subject`, which the policy's data map names as sealed.
ITEMS = ("name", "emergency_email", "department", "position", "employee_number")
MAX_LENGTH = 100  # characters


def canonical_item(item: str, text: str, address: str) -> str:
    """The form in which an item of the owner of `address` is sealed: NFC, without spaces around it.

    Raises:
        InvalidValue: empty, too long, with control characters, or an emergency address that cannot serve as one.
    """
    value = unicodedata.normalize("NFC", text).strip()
    if item == "emergency_email":
        return _emergency(value, address)
    if not 1 <= len(value) <= MAX_LENGTH or not value.isprintable():
        raise InvalidValue(f"{item} of {address}: 1 to {MAX_LENGTH} printable characters; leave it out to keep it")
    return value


def _emergency(value: str, address: str) -> str:
    try:
        target = canonical_target(value)
    except InvalidValue:
        target = ""
    if not target:  # raised out here, so that the error above, which shows the value, is no part of this one
        raise InvalidValue(f"emergency_email of {address} is not a mail address; write it like name@example.kr")
    if target.lower() == address:
        raise InvalidValue(f"emergency_email of {address} is the mailbox itself; it must be read without logging in")
    return target
