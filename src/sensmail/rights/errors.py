"""Errors of access rights. Each names the right, the value at fault and the fix."""

from __future__ import annotations


class RightsError(Exception):
    """What was asked for cannot be done; nothing was changed, unless the text says otherwise."""


class InvalidRight(RightsError):
    """A value breaks a rule that needs no look at the host."""


class NotApproved(RightsError):
    """The approval that the policy asks for is missing, of another role, or the holder's own."""


class NotApplied(RightsError):
    """The right could not be brought to its form where it lives."""


class Busy(RightsError):
    """Another run works on rights."""


class NoPolicy(RightsError):
    """The host has no policy.json, or one of another release."""
