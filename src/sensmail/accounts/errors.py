"""Errors of the accounts: each text names the value at fault and what to do instead."""

from __future__ import annotations


class AccountError(Exception):
    """What was asked for cannot be done."""


class InvalidValue(AccountError):
    """A value breaks a rule that needs no database to check."""
