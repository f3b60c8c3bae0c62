"""The process that changes keys, as the timer's does: `python -m keys_kill.rotate roll|reseal|destroy_replaced`.

Killed and started again it goes on with what it finds. Writers get less time to settle than on a host, and replaced
keys need not be kept for restores.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import cast

import msgspec
import psycopg

from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError
from sensmail.policy.approval import Approval
from sensmail.rotation.actions import Rotation
from sensmail.rotation.due import Action
from sensmail.rotation.errors import RotationError
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import watch
from sensmail.rotation.terms import load
from sensmail.store import StoreError

SETTLE_S = 0.6  # twice the longest that a writer here holds a sealed value


class Told(KeyService):
    """Says what it is about to ask for, since the destruction of keys shows no progress."""

    def destroy_retired(self, actor: str, reason: str, approver: str) -> int:
        print("phase=destroy", flush=True)
        count = super().destroy_retired(actor, reason, approver)
        print("phase=forget", flush=True)  # what comes next is the roll
        return count


def main(action: Action) -> None:
    """One action, to its end."""
    sessions = Sessions.here()
    terms = load(sessions.settings)
    terms = replace(terms, keys=msgspec.structs.replace(terms.keys, kept_for_restore_days=0))
    approval = Approval(terms.keys.approval, "kill test", "kill test") if action == "destroy_replaced" else None
    with Told() as keys:
        rotation = Rotation(sessions, keys, terms, "kill-test", "kill test", watch(sys.stdout), settle_s=SETTLE_S)
        try:
            print(rotation.carry_out(action, approval).text)
        except (RotationError, KeyServiceError, StoreError, psycopg.Error) as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from error


main(cast(Action, sys.argv[1]))
