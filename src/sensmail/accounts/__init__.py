"""Tenants, mailboxes and their owners, app passwords, aliases: what is wanted, planned purely, applied at once."""

from __future__ import annotations

from sensmail.accounts.errors import AccountError, InvalidValue
from sensmail.accounts.model import Wanted
from sensmail.accounts.parse import device, wanted
from sensmail.accounts.service import ROLE, Issued, Outcome, ensure, issue, listing, revoke, verify_password
from sensmail.accounts.show import Shown, show

__all__ = [
    "ROLE",
    "AccountError",
    "InvalidValue",
    "Issued",
    "Outcome",
    "Shown",
    "Wanted",
    "device",
    "ensure",
    "issue",
    "listing",
    "revoke",
    "show",
    "verify_password",
    "wanted",
]
