"""The root change: a new root key at any provider, everything wrapped by it, and the end of the old one.

Killed between any two steps, it is repeated and goes on. Every step finds out whether it is done already: a small file
keeps what cannot be seen any more, which root is old, which settings the new one has, and who approved. Both roots are
remembered as in use before the service needs the second, and the old one is destroyed by its own provider only when no
place holds a slot of its any more. Whatever a provider refuses ends the change where it is: no other root steps in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from sensmail.custody import notes
from sensmail.keyd.errors import KeyServiceError, RollIncomplete
from sensmail.keyd.register import Why
from sensmail.keyd.root_keys import RootInUse

Table = Mapping[str, Any]


class RootChangeError(KeyServiceError):
    """The root change stopped; repeating it goes on."""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A root change under way: from this root to the one of these settings."""

    old: RootInUse
    new: dict[str, Any]
    actor: str
    reason: str
    approver: str

    @property
    def why(self) -> Why:
        """Who, why and by whose approval."""
        return Why(self.actor, self.reason, self.approver)


class Host(Protocol):
    """What a root change does to the host. Each raises KeyServiceError with what the provider said."""

    def in_use(self) -> list[RootInUse]:
        """The roots that the service holds after its next start, oldest to newest."""

    def wanted(self, old: RootInUse) -> dict[str, Any]:
        """Settings of the root that is to follow. Raises RootChangeError where they are those of the old one."""

    def remember(self, roots: list[RootInUse]) -> None:
        """These are in use from now on; durable."""

    def prepare(self, table: Table) -> str:
        """See that there is this root key, and that it wraps and opens; returns its identity."""

    def prove(self, root: RootInUse) -> None:
        """See that this very key still opens."""

    def destroy(self, root: RootInUse) -> str:
        """See that this very key is gone, as far as its provider can; returns the class of destruction."""

    def restart(self) -> None:
        """Let the service read anew which roots are in use; returns when it answers."""


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
        change = _begin(host, service, why)
        notes.write(state, msgspec.json.encode(change))
        yield f"begun: root {_told(change.old)} is to be followed by one of provider {change.new['provider']}"
    else:
        yield f"taken up again: begun by {change.actor}, approved by {change.approver}: {change.reason}"
    detail: dict[str, str | int] = {"root": change.old.identity}
    ledger(change.why, "done", {**detail, "phase": "begin"})
    new = RootInUse(host.prepare(change.new), change.new)
    if new.identity == change.old.identity:
        raise RootChangeError(f"root {_told(new)}: is the one in use; {_OTHER}, then remove {state}, and repeat")
    yield f"ready: root {_told(new)} wraps and opens"
    yield from _replace(host, service, change, new)
    yield from _end(host, service, change, new)
    destroyed(change.old.identity, change.why)
    ledger(change.why, "done", {**detail, "phase": "end"})
    state.unlink()
    yield "done: recorded, and entered into the key register"


_OTHER = "give the new one another label or key tag in the settings of role keys, run site.yml"


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
        fix = "look at `sensmail keys status`: if one root alone is in use, remove the file"
        raise RootChangeError(f"{state}: {error}; {fix}") from error


def _begin(host: Host, service: Service, why: Why) -> Change:
    wrapped_by = service.standing().wrapped_by
    old = next((each for each in host.in_use() if each.identity == wrapped_by), None)
    if old is None:
        text = f"root {wrapped_by}: wraps the key file, but is none of those that this host remembers"
        raise RootChangeError(f"{text}; run site.yml, which looks, and repeat")
    host.prove(old)
    return Change(old, host.wanted(old), why.actor, why.reason, why.approver)


def _replace(host: Host, service: Service, change: Change, new: RootInUse) -> Iterator[str]:
    if new not in host.in_use():
        host.remember([change.old, new])
        yield "remembered: both roots are in use"
    standing = service.standing()
    if standing.wrapped_by == change.old.identity:
        if new.identity not in standing.held:
            host.prove(change.old)  # else the service would not come back
            host.restart()
            yield "restarted: the service holds both roots"
        if new.identity not in service.standing().held:
            text = f"the service does not hold root {_told(new)}; look at its journal"
            raise RootChangeError(f"{text}, repair, and repeat this command")
        service.rewrap(change.why)
        yield "rolled: a new epoch is wrapped by the new root"
    elif not standing.settled:
        service.rewrap(change.why)
        yield "rolled: the earlier epoch is gone from every place"


def _end(host: Host, service: Service, change: Change, new: RootInUse) -> Iterator[str]:
    standing = service.standing()
    if standing.wrapped_by != new.identity or not standing.settled:
        raise RollIncomplete(
            "a place may still hold a slot of the old root, which is kept; see `sensmail keys status`, repair, repeat"
        )
    yield f"destroyed: root {_told(change.old)} (class {host.destroy(change.old)})"
    if host.in_use() != [new]:
        host.remember([new])
        yield "remembered: the new root alone is in use"
    if change.old.identity in standing.held:
        host.restart()
        yield "restarted: the service holds the new root alone"
    if change.old.identity in service.standing().held:
        raise RootChangeError("the service still holds the old root; look at its journal, and repeat this command")


def _told(root: RootInUse) -> str:
    return f"{root.identity[:8]}… of provider {root.provider}"
