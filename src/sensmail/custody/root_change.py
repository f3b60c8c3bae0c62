"""The root change: a new root key, everything wrapped by it, and the end of the old one.

Killed between any two steps, it is repeated and goes on: what is on disk and what the service says show how far it
came and a small file keeps what cannot be seen any more, the old root's name and who approved. The old root is
destroyed only when no place holds a slot of its any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from sensmail.keyd.errors import KeyServiceError, RollIncomplete
from sensmail.keyd.register import Why


class RootChangeError(KeyServiceError):
    """The root change stopped; repeating it goes on."""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A root change under way: from the root of this name to the credential of this generation."""

    old: str
    generation: int
    actor: str
    reason: str
    approver: str

    @property
    def why(self) -> Why:
        """Who, why and by whose approval."""
        return Why(self.actor, self.reason, self.approver)


class Host(Protocol):
    """What a root change does to the host."""

    def generations(self) -> list[int]:
        """Numbers of the root credentials on disk, in order."""

    def make(self, generation: int) -> None:
        """Make a new root credential; all of it is there, or nothing."""

    def destroy(self, generation: int) -> None:
        """Overwrite one in place and remove it."""

    def sweep(self) -> None:
        """Complete a destruction that was cut off."""

    def restart(self) -> None:
        """Let the service read the credentials anew; returns when it answers."""


@dataclass(frozen=True)
class Standing:
    """What the service says of its root: names in hexadecimal."""

    wrapped_by: str
    held: frozenset[str]  # every root it could use
    settled: bool  # no place holds anything of an earlier epoch, and every place answers


class Service(Protocol):
    """What a root change asks of the key service."""

    def standing(self) -> Standing:
        """Which roots there are, and which one wraps."""

    def rewrap(self, why: Why) -> None:
        """Roll, and wrap by the newest root."""


_NO_ROOT = (
    "the root key in use is not on this disk any more, only in the memory of the service: do not restart it. "
    "Copy a place, and let two officers recover it on a new host (docs/keys.md)"
)
Ledger = Callable[[Why, Literal["done"], Mapping[str, str | int]], None]
"""Writes a governance record: who and why, outcome, details. Raises when it could not."""


def change_root(
    host: Host, service: Service, state: Path, why: Why, ledger: Ledger, destroyed: Callable[[str, Why], None]
) -> Iterator[str]:
    """Carry out one root change, or the rest of one that was interrupted; a line for each step as it is done.

    Args:
        host: the machine.
        service: the running key service.
        state: file that remembers a change under way.
        why: for a new change; an interrupted one keeps its own.
        ledger: called before the first step and after the last.
        destroyed: enters the end of the old root, by name, into the register.

    Raises:
        RootChangeError, KeyServiceError: repeat.
    """
    change = read(state)
    if change is None:
        if not host.generations():
            raise RootChangeError(_NO_ROOT)
        change = Change(service.standing().wrapped_by, max(host.generations()) + 1, why.actor, why.reason, why.approver)
        _write(state, change)
        yield f"begun: root {change.old[:8]}… is to be followed by generation {change.generation}"
    else:
        yield f"taken up again: begun by {change.actor}, approved by {change.approver}: {change.reason}"
    detail: dict[str, str | int] = {"root": change.old, "generation": change.generation}
    ledger(change.why, "done", {**detail, "phase": "begin"})
    yield from _replace(host, service, change)
    yield from _end(host, service, change)
    destroyed(change.old, change.why)
    ledger(change.why, "done", {**detail, "phase": "end"})
    state.unlink()
    yield "done: recorded, and entered into the key register"


def read(state: Path) -> Change | None:
    """The change under way, if there is one.

    Raises:
        RootChangeError: the file is not readable.
    """
    try:
        return msgspec.json.decode(state.read_bytes(), type=Change)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        fix = "look at `sensmail keys status`: if its root is of the highest generation, remove the file"
        raise RootChangeError(f"{state}: {error}; {fix}") from error


def _replace(host: Host, service: Service, change: Change) -> Iterator[str]:
    if change.generation not in host.generations():
        host.make(change.generation)
        yield f"made: root credential generation {change.generation}"
    standing = service.standing()
    if standing.wrapped_by == change.old:
        if standing.held <= {change.old}:
            if min(host.generations()) == change.generation:
                raise RootChangeError(_NO_ROOT)
            host.restart()
            yield "restarted: the service holds both roots"
        if service.standing().held <= {change.old}:
            text = f"the service does not see root generation {change.generation}; look at its journal"
            raise RootChangeError(f"{text}, repair, and repeat this command")
        service.rewrap(change.why)
        yield "rolled: a new epoch is wrapped by the new root"
    elif not standing.settled:
        service.rewrap(change.why)
        yield "rolled: the earlier epoch is gone from every place"


def _end(host: Host, service: Service, change: Change) -> Iterator[str]:
    standing = service.standing()
    if standing.wrapped_by == change.old or not standing.settled:
        raise RollIncomplete(
            "a place may still hold a slot of the old root, which is kept; see `sensmail keys status`, repair, repeat"
        )
    host.sweep()
    for generation in host.generations():
        if generation < change.generation:
            host.destroy(generation)
            yield f"destroyed: root credential generation {generation}"
    if change.old in standing.held:
        host.restart()
        yield "restarted: the service holds the new root alone"
    if change.old in service.standing().held:
        raise RootChangeError("the service still holds the old root; look at its journal, and repeat this command")


def _write(state: Path, change: Change) -> None:
    fresh = state.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(change))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(state)
    directory = os.open(state.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
