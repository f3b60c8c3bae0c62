"""The privacy engine of sensmail.cloud: what the policy promises, kept by a plain typed Python package."""

from __future__ import annotations

__version__ = "0.1.0"
