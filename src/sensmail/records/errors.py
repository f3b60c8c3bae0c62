"""Errors of the records. Each text names what is wrong, where, and what to do; none carries a secret."""

from __future__ import annotations


class RecordsError(Exception):
    """Base of every error of this package."""


class Malformed(RecordsError):
    """Bytes that are not of the form that docs/formats.md describes."""


class NotProven(RecordsError):
    """A proof, a signature or a chain of keys does not hold."""


class BeforeCut(RecordsError):
    """A proof needs leaves that were pruned."""
