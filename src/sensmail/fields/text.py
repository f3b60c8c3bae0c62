"""Text form of an envelope, for columns of type text: `sealed:v1:` and base64url without padding (docs/formats.md).

Values are bytes here, the ASCII of the text, since that is what COPY carries.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from sensmail.fields.errors import EnvelopeError

PREFIX = b"sealed:v1:"
SHORTEST = len(PREFIX) + 46  # characters: an envelope has at least 34 bytes
_CLAIM = re.compile(rb"sealed:v[0-9]+:")
_BODY = re.compile(rb"[A-Za-z0-9_-]+")


class NotSealedText(EnvelopeError):
    """Text that claims to be sealed and is not what `pack` writes."""


def claims_sealed(text: bytes) -> bool:
    """Whether text begins like a sealed one, of this or of another version; it is then never taken for plaintext."""
    return _CLAIM.match(text) is not None


def pack(envelope: bytes) -> bytes:
    """The text of an envelope: 10 characters and 4 for every 3 bytes begun."""
    return PREFIX + urlsafe_b64encode(envelope).rstrip(b"=")


def unpack(text: bytes) -> bytes:
    """The envelope of a text. Exactly one text stands for an envelope: anything else is refused.

    Raises:
        NotSealedText: another prefix, a character outside base64url, padding, or bits that are not zero at the end.
    """
    body = text[len(PREFIX) :]
    if not text.startswith(PREFIX) or not _BODY.fullmatch(body) or len(body) % 4 == 1:
        raise NotSealedText(f"a sealed text is {PREFIX.decode()} and base64url without padding; this one is not")
    envelope = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    if pack(envelope) != text:
        raise NotSealedText("the last character of a sealed text has bits beyond its last byte")
    return envelope


def size(envelope_bytes: int) -> int:
    """Characters that an envelope of so many bytes takes."""
    return len(PREFIX) + (envelope_bytes * 4 + 2) // 3
