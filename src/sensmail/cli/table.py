"""Tables for people: on a terminal, where a Korean letter is two wide, and for a spreadsheet. Times in Korea."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

KOREA = ZoneInfo("Asia/Seoul")
_Line = TypeVar("_Line")


def korean_time(moment: datetime | None) -> str:
    """Date and time in Korea; nothing for what has not happened."""
    return f"{moment.astimezone(KOREA):%Y-%m-%d %H:%M}" if moment else ""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Each row on a line, columns two spaces apart."""
    if not rows:
        return ""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(_padded, row, widths)).rstrip() + "\n" for row in rows)


def spreadsheet(columns: Sequence[tuple[str, Callable[[_Line], object]]], lines: Iterable[_Line]) -> str:
    """A CSV file with these headings, and the mark that makes a spreadsheet read UTF-8."""
    file = io.StringIO()
    file.write("\ufeff")
    writer = csv.writer(file)
    writer.writerow([heading for heading, _ in columns])
    writer.writerows([_harmless(value(line)) for _, value in columns] for line in lines)
    return file.getvalue()


def _harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula is kept text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def _width(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
