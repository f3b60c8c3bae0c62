"""Who approved an act that the policy lets no one do alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Approval:
    """Role and name of who approved, and where that is written down."""

    role: str
    by: str
    reference: str


def refusal(approval: Approval | None, role: str) -> str:
    """Why this is not the approval that the policy asks for; empty when it is."""
    if approval is None or approval.role != role:
        found = "none was given" if approval is None else f"{approval.role!r} approved"
        return f"the policy asks for the approval of {role}, but {found}"
    if not (approval.by.strip() and approval.reference.strip()):
        return "name who approved (by) and where that is written down (reference)"
    return ""
