"""Names of the clauses: which place of the policy file belongs to which clause of the published policy."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

NO_CLAUSE = "policy"

#: Paragraphs of the articles that have several; every other place in an article has the article's own id.
PARAGRAPHS = MappingProxyType(
    {
        ("art2", "items"): "art2-1",
        ("art2", "retired_fields"): "art2-1",
        ("art2", "period"): "art2-2",
        ("art4", "encryption"): "art4-1",
        ("art4", "access_rights"): "art4-2",
        ("art4", "access_log"): "art4-3",
        ("art4", "storage_and_transit"): "art4-4",
        ("art4", "malware"): "art4-5",
        ("art4", "physical"): "art4-6",
    },
)


def clause_of(path: Sequence[str | int]) -> str:
    """Return the clause id of a path such as ``("policy", "art4", "access_log", "retention")``: here ``art4-3``."""
    inside = [str(step) for step in path[1:]]
    if not inside or not inside[0].startswith("art") or not inside[0][3:].isdecimal():
        return NO_CLAUSE
    return PARAGRAPHS.get((inside[0], inside[1] if len(inside) > 1 else ""), inside[0])
