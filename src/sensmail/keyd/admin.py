"""Acts that change the key file: recorded before they begin and when they are done; one at a time, in a thread.

The key register is written after the act. It is not the record: where that fails, the next start makes up for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg

from sensmail.keyd import protocol, register
from sensmail.keyd.caller import SESSION, Caller
from sensmail.keyd.errors import BadRequest, KeyServiceError, Refused
from sensmail.keyd.openings import Openings
from sensmail.keyd.recorder import Recorder
from sensmail.keyd.rights import Rights
from sensmail.keyd.vault import translate
from sensmail.keys import KeyFailure, Keyring, Officers, Root
from sensmail.ledger import Entry
from sensmail.store import Connection, StoreError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Act:
    """One administrative act, as it is recorded."""

    name: str
    caller: Caller
    why: protocol.Why
    subjects: tuple[UUID, ...] = ()

    def begin(self) -> list[Entry]:
        """One record, or one for each subject that it concerns."""
        entry = self._entry("begin")
        return [replace(entry, subject=each) for each in self.subjects] or [entry]

    def end(self, **detail: int) -> list[Entry]:
        """It is done."""
        return [self._entry("end", **detail)]

    def failed(self, code: str) -> list[Entry]:
        """It is not done, or only in part."""
        return [replace(self._entry("end", code=code), outcome="failed")]

    def _entry(self, phase: str, **detail: int | str) -> Entry:
        given: dict[str, int | str] = {"phase": phase, "reason": self.why.reason, **detail}
        if self.why.approver:
            given["approver"] = self.why.approver
        return Entry("governance", f"keys.{self.name}", self.why.actor, unit=self.caller.unit, detail=given)


class Administration:
    """Who may ask is settled before; this records, acts and notes."""

    def __init__(
        self,
        ring: Keyring,
        roots: list[Root],
        recorder: Recorder,
        openings: Openings,
        connect: Callable[[], Connection],
    ) -> None:
        self._ring, self._roots, self._recorder, self._openings, self._connect = (
            ring,
            roots,
            recorder,
            openings,
            connect,
        )
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="administration")

    async def change(self, name: str, caller: Caller, message: protocol.ChangeSubjects) -> int:
        """`close`, `reopen` or `destroy`; returns how many subjects. Raises KeyServiceError: nothing changed."""
        subjects = list(dict.fromkeys(message.subjects))
        ids = [each.bytes for each in subjects]
        change = {
            "close": self._ring.close_subjects,
            "reopen": self._ring.reopen_subjects,
            "destroy": self._ring.destroy_subjects,
        }[name]

        def act() -> int:
            change(ids)
            if name == "destroy" and ids:
                self._note(register.DroppedSubjects, len(ids), message.why)
            return len(ids)

        return await self._do(Act(name, caller, message.why, tuple(subjects)), act)

    async def retire(self, caller: Caller, message: protocol.Administer) -> int:
        """Every replaced key version is kept for restores only from now on; returns how many."""

        def act() -> int:
            count = self._ring.retire_replaced()
            self._note(register.Retired, count, message.why)
            return count

        return await self._do(Act("retire", caller, message.why), act)

    async def destroy_retired(self, caller: Caller, message: protocol.Administer) -> int:
        """Every key version that is kept for restores leaves the key file; returns how many."""

        def act() -> int:
            count = self._ring.destroy_retired()
            self._note(register.DroppedRetired, count, message.why)
            return count

        return await self._do(Act("destroy_retired", caller, message.why), act)

    async def roll(self, caller: Caller, message: protocol.Roll) -> int:
        """A new epoch; returns its number."""
        try:
            officers = Officers(tuple(message.officers)) if message.officers else None  # type: ignore[arg-type]
        except KeyFailure as failure:
            raise BadRequest(str(failure)) from failure

        def act() -> int:
            self._openings.top_up()  # readers need numbers while the key file is busy
            try:
                return self._ring.roll(root=self._root(message.rewrap), officers=officers, progress=_say)
            finally:
                self.reconcile(message.why)

        return await self._do(Act("roll", caller, message.why), act)

    def reconcile(self, why: protocol.Why | None = None) -> None:
        """Bring the key register up to what the key file says. Called in a thread."""
        with self._registering() as connection:
            given = register.Why(why.actor, why.reason, why.approver) if why else None
            for line in register.reconcile(connection, self._seen(), given):
                LOG.info("key register: %s", line)

    def reconcile_soon(self) -> None:
        """The same behind everything that is under way, without waiting for it."""
        self._threads.submit(self.reconcile)

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown()

    async def _do(self, act: Act, work: Callable[[], int]) -> int:
        await self._recorder.record(act.begin())
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (KeyFailure, ValueError) as failure:  # the latter of an officer's key that is no point to encrypt to
            error = translate(failure) if isinstance(failure, KeyFailure) else BadRequest(str(failure))
            LOG.warning("%s failed: %s", act.name, error)
            await self._finish(act.failed(error.code))
            raise error from failure
        await self._finish(act.end(**{"epoch" if act.name == "roll" else "count": result}))
        return result

    async def _finish(self, entries: list[Entry]) -> None:
        """The act is done whatever becomes of this record; its begin is recorded."""
        try:
            await self._recorder.record(entries)
        except KeyServiceError as error:
            LOG.error("%s: its end is not recorded: %s", entries[0].act, error)

    def _root(self, rewrap: bool) -> Root:
        """The root that wraps the next epoch: the present one, or the newest where that was asked for."""
        present = self._ring.status().root
        found = [each for each in self._roots if each.identity().hex() == present]
        return self._roots[-1] if rewrap or not found else found[0]

    def _note(self, kind: type[register.Batch], count: int, why: protocol.Why) -> None:
        status = self._ring.status()
        with self._registering() as connection:
            event = kind(status.ring, status.sequence, count, register.Why(why.actor, why.reason, why.approver))
            register.note(connection, event)

    @contextmanager
    def _registering(self) -> Iterator[Connection]:
        try:
            with self._connect() as connection:
                yield connection
        except (psycopg.Error, StoreError, KeyFailure) as error:
            LOG.error("key register not written, the next start makes up for it: %s", error)

    def _seen(self) -> register.Seen:
        status = self._ring.status()
        return register.Seen(
            ring=status.ring,
            epoch=status.epoch,
            destroying=status.destroying,
            roots=tuple(
                register.RootSeen(each.identity().hex(), each.provider, each.destruction.name) for each in self._roots
            ),
            wrapped_by=status.root,
            officers=status.officers,
            restore_only=status.counts["restore_only"],
            tombstones=status.counts["tombstones"],
        )


def require_approval(rights: Rights, caller: Caller, act: str, message: Any) -> None:
    """What ends keys for good needs approval. Who can open the key file is changed by root, and with approval.

    Raises:
        Refused: nobody approved a purge, or another than the role that the policy names approved the rest; or a unit
            that is no login session of root asks for other officers or another root.
    """
    root_change = isinstance(message, protocol.Roll) and (message.rewrap or message.officers)
    if root_change and caller.unit != SESSION:
        raise Refused(f"{caller.unit}: officers and root key are changed from a login session of root only")
    if root_change or act == "destroy_retired":
        rights.keys.require_approval(act, message.why.approver)
    elif isinstance(message, protocol.ChangeSubjects) and act == "destroy" and not message.why.approver:
        raise Refused("destroy: name who approved it")


def _say(phase: str) -> None:
    LOG.info("roll: %s", phase)
