"""The process that rolls, as a timer would: `python -m keys_kill.roll`."""

from __future__ import annotations

from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError

with KeyService() as keys:
    try:
        epoch = keys.roll("kill-test", "kill test")
    except KeyServiceError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
print(f"epoch {epoch}")
