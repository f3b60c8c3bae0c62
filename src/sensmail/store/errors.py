"""Errors of the store. Their text names what was found and what to do, and is fit to be shown as it is."""

from __future__ import annotations


class StoreError(Exception):
    """The database cannot be used as asked."""


class Unreachable(StoreError):
    """No session could be opened: the server is down, or it refused the login."""
