"""What a command refuses by itself."""

from __future__ import annotations


class CommandError(Exception):
    """Refused; the text says what is wrong and what to do."""
