"""Checks of article 4.2: who approves rights and how long they last is stated."""

from __future__ import annotations

from collections.abc import Iterator

from sensmail.policy.errors import Problem
from sensmail.policy.law import Law
from sensmail.policy.source import Key, Source

HOLDERS: Key = ("policy", "art4", "access_rights", "holders")


def present(source: Source, _law: Law) -> Iterator[Problem]:
    """Only earlier versions of a policy may be without."""
    if source.get(*HOLDERS) is None and isinstance(source.get(*HOLDERS[:-1]), dict):
        fix = "add holders, as docs/policy.md says: approval, longest and dormant"
        yield source.problem(HOLDERS, "art4.access_rights.holders is missing", fix)
