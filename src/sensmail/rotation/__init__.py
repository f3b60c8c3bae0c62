"""Passes over sealed columns of any PostgreSQL table: plaintext is sealed, keys change, while everybody works on."""

from __future__ import annotations
