"""Access rights: given, changed and ended where they live, each with its record; and register against reality.

An operator account with its SSH keys, sudo, a person's role in PostgreSQL, a role of the portal.
"""

from __future__ import annotations

from sensmail.rights.desk import Desk, Outcome
from sensmail.rights.errors import RightsError
from sensmail.rights.face import change, desk, keep, look
from sensmail.rights.reconcile import Finding, Report, reconcile

__all__ = ["Desk", "Finding", "Outcome", "Report", "RightsError", "change", "desk", "keep", "look", "reconcile"]
