"""Print promise, law and applied value side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from unicodedata import east_asian_width

from sensmail.policy.load import Loaded
from sensmail.policy.rules import Rule, findings, rules

_HEAD = ("article", "promise", "value", "law asks", "article of law", "confidence", "applied", "clause")
_WIDEST = 36


def as_json(loaded: Loaded, subjects: int = 0) -> str:
    """Return rules and findings as JSON."""
    data = {
        "file": loaded.source.file,
        "subjects": subjects,
        "rules": [asdict(rule) for rule in rules(loaded, subjects)],
        "findings": [str(finding) for finding in findings(loaded, subjects)],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def as_text(loaded: Loaded, subjects: int = 0) -> str:
    """Return the table and the findings as text; `*` marks an applied value that the law decided."""
    table = [_HEAD, *(row for rule in rules(loaded, subjects) for row in _rows(rule))]
    widths = [max(_width(row[column]) for row in table) for column in range(len(_HEAD))]
    table.insert(1, tuple("-" * width for width in widths))
    lines = ["  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines += [
        "",
        f"Computed for {subjects} data subjects, law as of {loaded.law.as_of}. Confidence is about the law text:",
    ]
    lines += ["secondary = not read in the official text; unverified = not established. * = the law is stricter."]
    lines += [f"Finding: {finding}" for finding in findings(loaded, subjects)]
    return "\n".join(lines) + "\n"


def _rows(rule: Rule) -> Sequence[tuple[str, ...]]:
    """Return one row for a rule, and one more for each further law about it."""
    article = "art. " + rule.clause.removeprefix("art").replace("-", ".")
    applied = rule.applied + ("*" if rule.decided_by == "law" else "")
    first, *others = rule.laws or (("-", "-", "-"),)
    label = rule.path.split(".", 1)[1]
    row = (article, label, _cut(rule.promise), _cut(first[0]), *first[1:], _cut(applied), rule.clause)
    return [row] + [("", "", "", _cut(asked), source, sure, "", "") for asked, source, sure in others]


def _cut(text: str) -> str:
    if _width(text) <= _WIDEST:
        return text
    while _width(text) >= _WIDEST:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Return how many columns a terminal needs: Hangul takes two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
