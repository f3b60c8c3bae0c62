"""Errors of sealed fields. None of them carries a key, a plaintext or an envelope."""

from __future__ import annotations


class EnvelopeError(Exception):
    """A value cannot be sealed or opened."""


class Truncated(EnvelopeError):
    """Fewer bytes than the smallest envelope."""


class TooLong(EnvelopeError):
    """More bytes than a sealed value may have."""


class UnknownVersion(EnvelopeError):
    """The first byte names a format that this program does not read."""


class UnknownAlgorithm(EnvelopeError):
    """The second byte names an algorithm that is not in the registry; another one is never tried."""


class WrongKey(EnvelopeError):
    """The envelope says itself that it was sealed under another key version."""


class Altered(EnvelopeError):
    """Authentication failed. A moved value, a changed bit and a foreign key look the same, by design of AES-GCM."""


class InvalidPlace(EnvelopeError):
    """A purpose, field number or primary key that no envelope can be bound to."""
