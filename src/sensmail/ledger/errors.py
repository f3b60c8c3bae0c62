"""What keeps a record from being written."""

from __future__ import annotations


class LedgerError(Exception):
    """Base of every error of this package."""


class UnknownDetail(LedgerError):
    """A detail key that is not on the list: a record holds only what is known to be fit for one."""


class RecordSwallowed(LedgerError):
    """The database took the statement but kept fewer records than were given: somebody put a trigger or rule there."""
