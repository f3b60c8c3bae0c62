"""Columns on a terminal, where a Korean letter is two wide."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

KOREA = ZoneInfo("Asia/Seoul")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Each row on a line, columns two spaces apart."""
    if not rows:
        return ""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(_padded, row, widths)).rstrip() + "\n" for row in rows)


def _width(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
