"""Tenants, mailboxes, app passwords and aliases: what is wanted, planned purely, applied in one transaction."""

from __future__ import annotations

from sensmail.accounts.errors import AccountError, InvalidValue
from sensmail.accounts.model import Wanted
from sensmail.accounts.parse import device, wanted
from sensmail.accounts.service import ROLE, Issued, Outcome, ensure, issue, listing, revoke, verify_password

__all__ = [
    "ROLE",
    "AccountError",
    "InvalidValue",
    "Issued",
    "Outcome",
    "Wanted",
    "device",
    "ensure",
    "issue",
    "listing",
    "revoke",
    "verify_password",
    "wanted",
]
