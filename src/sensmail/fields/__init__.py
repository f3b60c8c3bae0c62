"""Sealed fields: a personal value that opens only in its own place, under its subject's key, for its purpose."""

from __future__ import annotations

from sensmail.fields.envelope import ALGORITHMS, OVERHEAD, Algorithm, FieldKey, Header, nonces, parse
from sensmail.fields.errors import (
    Altered,
    EnvelopeError,
    InvalidPlace,
    TooLong,
    Truncated,
    UnknownAlgorithm,
    UnknownVersion,
    WrongKey,
)
from sensmail.fields.place import Place, row_key

__all__ = [
    "ALGORITHMS", "OVERHEAD", "Algorithm", "Altered", "EnvelopeError", "FieldKey", "Header", "InvalidPlace", "Place",
    "TooLong", "Truncated", "UnknownAlgorithm", "UnknownVersion", "WrongKey", "nonces", "parse", "row_key",
]  # fmt: skip
