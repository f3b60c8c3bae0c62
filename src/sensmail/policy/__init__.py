"""The privacy policy as a program: read it, check it, apply the stricter of it and the law, publish it.

loaded = load(Path("policy.yml"))          # PolicyError: every problem with file, line, clause and fix
apply(loaded, subjects=60_000)             # the values that programs enforce
rules(loaded), findings(loaded)            # promise, law and applied value; what an auditor should hear
page(loaded, "ko")                         # the page that data subjects read
"""

from __future__ import annotations

from sensmail.policy.apply import Applied, Column, apply, data_map
from sensmail.policy.durations import Duration
from sensmail.policy.errors import PolicyError, Problem
from sensmail.policy.facts import applied_document, facts
from sensmail.policy.load import Loaded, load, loads
from sensmail.policy.model import Policy
from sensmail.policy.page import page
from sensmail.policy.rules import Rule, findings, rules

__all__ = [
    "Applied", "Column", "Duration", "Loaded", "Policy", "PolicyError", "Problem", "Rule",
    "applied_document", "apply", "data_map", "facts", "findings", "load", "loads", "page", "rules",
]  # fmt: skip
