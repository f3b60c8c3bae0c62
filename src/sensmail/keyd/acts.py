"""What each act does, for a caller whose right to ask for it is settled.

Small batches are worked on where they are called; large ones, and what writes to the key file, in threads, so that
nobody waits for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sensmail.keyd import protocol
from sensmail.keyd.admin import Administration, require_approval
from sensmail.keyd.caller import Caller
from sensmail.keyd.errors import BadRequest
from sensmail.keyd.limits import Limits
from sensmail.keyd.protocol import Opened, Values
from sensmail.keyd.recorder import Recorder
from sensmail.keyd.rights import Right, Rights
from sensmail.keyd.vault import Vault, translate
from sensmail.keys import KeyFailure, Keyring, Root
from sensmail.ledger import Entry

T = TypeVar("T")
_SMALL = 64  # values that are worked on without a thread
_THREADS = 2


@dataclass(frozen=True)
class Call:
    """One call that may be carried out."""

    act: str
    caller: Caller
    rights: Rights
    right: Right
    message: Any  # of the type that protocol.ACTS names

    def entry(self, **detail: int | str) -> Entry:
        """The governance record of an act that shows nobody a value."""
        return Entry("governance", f"keys.{self.act}", unit=self.caller.unit, detail=detail)


class Acts:
    """Message in, answer out. Every act may raise KeyServiceError."""

    def __init__(
        self, ring: Keyring, roots: Sequence[Root], recorder: Recorder, admin: Administration, memory_locked: bool
    ) -> None:
        self._ring, self._roots, self._recorder = ring, roots, recorder
        self._vault = Vault(ring)
        self._openings = Limits("openings", "openings_per_minute")
        self._new_keys = Limits("new subjects", "new_subjects_per_minute")
        self._memory_locked, self._started = memory_locked, int(time.time())
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="worker")
        self._acts: dict[str, Callable[[Call], Awaitable[Any]]] = {
            "subjects": self._subjects,
            "adopt": self._adopt,
            "seal": self._seal,
            "open": self._open,
            "reseal": self._reseal,
            "check": self._check,
            "census": self._census,
            "replace": self._replace,
            "status": lambda _: self._status(),
            "tombstones": lambda _: self._tombstones(),
            **dict.fromkeys(
                ("close", "reopen", "destroy"), lambda call: admin.change(call.act, call.caller, call.message)
            ),
            "retire": lambda call: admin.retire(call.caller, call.message),
            "destroy_retired": lambda call: admin.destroy_retired(call.caller, call.message),
            "roll": lambda call: admin.roll(call.caller, call.message),
        }

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown()

    async def answer(self, call: Call) -> Any:
        """Carry out a call; see protocol.ACTS for messages and answers."""
        require_approval(call.rights, call.caller, call.act, call.message)
        return await self._acts[call.act](call)

    # values

    async def _subjects(self, call: Call) -> list[UUID]:
        count = call.message.count
        await self._grant(call, count)
        made = await self._writing(lambda: self._ring.new_subject_keys(count))
        return [UUID(bytes=each.subject) for each in made]

    async def _adopt(self, call: Call) -> int:
        subjects = _ids(call)
        await self._grant(call, sum(self._ring.state_of(each, 1) is None for each in set(subjects)))
        return len(await self._writing(lambda: self._ring.adopt(subjects)))

    async def _grant(self, call: Call, count: int) -> None:
        """Room for so many new subjects, and the record of it. Raises TooMany, Unavailable."""
        self._new_keys.take(call.caller.unit, count, call.right.new_subjects_per_minute)
        if count:
            await self._recorder.record([call.entry(count=count)])

    async def _seal(self, call: Call) -> list[bytes]:
        values = call.message.values
        for number in set(values.fields):
            call.rights.item(number)
        return await self._working(len(values), lambda: self._vault.seal(values))

    async def _open(self, call: Call) -> list[Opened]:
        """Record first: one record a person, with the fields asked for. Only then open."""
        message, values = call.message, call.message.values
        call.rights.may_open(call.caller, call.right, message.purpose, set(values.fields))
        fields = _fields(values)
        self._openings.take(call.caller.unit, len(values), call.right.openings_per_minute)
        refusals = self._vault.refusals(fields)

        def entry(subject: bytes, **more: str) -> Entry:
            actor, unit = message.actor, call.caller.unit
            return Entry(
                "access", "open", actor.account, actor.origin, UUID(bytes=subject), actor.client, message.purpose,
                "refused" if more else "done", unit, detail={"fields": fields[subject], **more},
            )  # fmt: skip

        refused = [entry(subject, code=code) for subject, code in refusals.items()]
        opening = [entry(subject) for subject in fields if subject not in refusals]
        if refused:
            await self._recorder.record(refused)
        if opening:
            await self._recorder.record(opening, openings=True)
        # Who was refused in the record stays refused, even when reopened while the record was written.
        opened = await self._working(len(values), lambda: self._vault.open(values, refusals))
        await self._note_failures(call, values, opened, refusals)
        return opened

    async def _note_failures(
        self, call: Call, values: Values, opened: Sequence[Opened], refused: dict[bytes, str]
    ) -> None:
        """A value that was recorded as opened and did not open: somebody altered or moved it."""
        failed: dict[tuple[bytes, str], list[int]] = defaultdict(list)
        for subject, field, result in zip(values.subjects, values.fields, opened, strict=True):
            if result.refusal and subject not in refused:
                failed[subject, result.refusal].append(field)
        if failed:
            actor = call.message.actor
            await self._recorder.record(
                [
                    Entry(
                        "access", "open", actor.account, actor.origin, UUID(bytes=subject), actor.client,
                        call.message.purpose, "failed", call.caller.unit,
                        detail={"fields": sorted(set(fields)), "code": code},
                    )
                    for (subject, code), fields in failed.items()
                ]
            )  # fmt: skip

    # passes of jobs

    async def _reseal(self, call: Call) -> protocol.Resealed:
        return await self._pass(call, self._vault.reseal)

    async def _check(self, call: Call) -> list[str]:
        return await self._pass(call, self._vault.check)

    async def _pass(self, call: Call, work: Callable[[Values], T]) -> T:
        values = call.message.values
        await self._recorder.record([call.entry(job=call.message.job, items=len(values))])
        return await self._working(len(values), lambda: work(values))

    async def _census(self, call: Call) -> dict[str, int]:
        pairs = call.message.pairs
        await self._recorder.record([call.entry(items=len(pairs))])
        return await self._working(len(pairs), lambda: self._vault.census(pairs))

    async def _replace(self, call: Call) -> int:
        subjects = _ids(call)
        await self._recorder.record([call.entry(count=len(subjects))])
        return len(await self._writing(lambda: self._ring.replace(subjects)))

    # reports

    async def _status(self) -> protocol.Status:
        status = await self._writing(self._ring.status)
        return protocol.Status(
            ring=status.ring,
            epoch=status.epoch,
            sequence=status.sequence,
            destroying=status.destroying,
            destroyed_through=status.destroyed_through,
            recovery=status.recovery,
            officers=list(status.officers),
            wrapped_by=status.root,
            roots=await self._writing(self._found_roots),
            places=dict(status.places),
            lost=dict(status.lost),
            counts=dict(status.counts),
            issued=status.issued,
            settled=status.settled,
            database=self._recorder.state,
            memory_locked=self._memory_locked,
            started=self._started,
        )

    def _found_roots(self) -> list[protocol.RootFound]:
        return [
            protocol.RootFound(each.identity().hex(), each.provider, each.destruction.name, each.destruction.promise)
            for each in self._roots
        ]

    async def _tombstones(self) -> list[protocol.Gone]:
        def gone() -> list[protocol.Gone]:
            return [
                protocol.Gone(UUID(bytes=each.subject), each.epoch, each.time, self._ring.destroyed(each.subject))
                for each in self._ring.tombstones()
            ]

        return await self._writing(gone)

    async def _writing(self, work: Callable[[], T]) -> T:
        """In a thread, because the key file may be busy."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except KeyFailure as failure:
            raise translate(failure) from failure
        except ValueError as error:
            raise BadRequest(str(error)) from error

    async def _working(self, size: int, work: Callable[[], T]) -> T:
        return work() if size <= _SMALL else await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _ids(call: Call) -> list[bytes]:
    return [each.bytes for each in call.message.subjects]


def _fields(values: Values) -> dict[bytes, list[int]]:
    """The fields of each person, in order."""
    found: dict[bytes, set[int]] = defaultdict(set)
    for subject, field in zip(values.subjects, values.fields, strict=True):
        found[subject].add(field)
    return {subject: sorted(fields) for subject, fields in found.items()}
