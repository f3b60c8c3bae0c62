"""The engine's database: sessions, roles and migrations. Knows nothing of what is stored."""

from __future__ import annotations

from sensmail.store.connection import SUPERUSER, Connection, connect
from sensmail.store.errors import StoreError, Unreachable
from sensmail.store.settings import Settings, load

__all__ = ["SUPERUSER", "Connection", "Settings", "StoreError", "Unreachable", "connect", "load"]
