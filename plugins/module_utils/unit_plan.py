# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of host_units: what to do with a unit, from what is wanted, what systemd says and what we remember. Pure.

The rule that survives an interrupted run: a unit is restarted when the configuration on disk is not the one it was
started with. What it was started with is remembered with its InvocationID, which systemd renews at every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verb = Literal["unmask", "mask", "enable", "disable", "reset-failed", "start", "stop", "restart", "reload-or-restart"]

ENABLED_ENOUGH = frozenset({"enabled", "static", "indirect", "generated", "alias", "transient"})
RUNNING = frozenset({"active", "reloading", "refreshing", "maintenance"})
STOPPED = frozenset({"inactive", "failed"})


@dataclass(frozen=True)
class Wish:
    """How a unit shall be. A masked unit is stopped, and neither enabled nor disabled."""

    name: str
    started: bool = True
    enabled: bool | None = True
    masked: bool = False
    reload: bool = False


@dataclass(frozen=True)
class Unit:
    """How systemd sees a unit. `started_at`: seconds since 1970 when its last start began, 0 for never."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    file_state: str = ""
    invocation: str = ""
    started_at: float = 0.0
    is_job: bool = False  # a oneshot that does not remain: it runs, ends, and is inactive when all is well
    result: str = "success"
    condition_met: bool = True


@dataclass(frozen=True)
class Configuration:
    """What a unit reads, as it lies on disk.

    Two digests, as a reload is enough for its own files but not for its unit file. Times in seconds since 1970:
    `newest` is the last change of a file, or of the entries of a directory that a glob searches; `newest_beside`
    regards the directories of files listed by full name too, which, as /etc does, often change for other reasons.
    """

    digest: str
    definition: str
    newest: float = 0.0
    newest_beside: float = 0.0


@dataclass(frozen=True)
class Record:
    """What we remember of the last start, or reload, that we know the configuration of."""

    digest: str
    definition: str
    invocation_id: str

    @classmethod
    def of(cls, configuration: Configuration, invocation: str) -> Record:
        """Remember that this invocation has this configuration."""
        return cls(configuration.digest, configuration.definition, invocation)


@dataclass(frozen=True)
class Decision:
    """Verbs of systemctl in their order, why, and whether the record is to be written anew when they are done."""

    verbs: tuple[Verb, ...] = ()
    reason: str = ""
    adopt: bool = False

    @property
    def changed(self) -> bool:
        """True when systemd has something to do."""
        return bool(self.verbs)


def decide(wish: Wish, unit: Unit, configuration: Configuration, record: Record | None) -> Decision:
    """Decide what to do with one unit. An absent unit counts as one that was never started."""
    if wish.masked:
        stop: tuple[Verb, ...] = () if unit.active in STOPPED else ("stop",)
        mask: tuple[Verb, ...] = () if unit.file_state == "masked" else ("mask",)
        return Decision((*stop, *mask), "to be masked" if stop or mask else "")
    prepare, why = _unit_file(wish, unit)
    if not wish.started:
        if unit.active in STOPPED:
            return Decision(prepare, why)
        return Decision((*prepare, "stop"), _both(why, f"is {unit.active}, to be stopped"))
    run = _run(wish, unit, configuration, record)
    return Decision((*prepare, *run.verbs), _both(why, run.reason), run.adopt)


def _both(first: str, second: str) -> str:
    return ", ".join(filter(None, (first, second)))


def _unit_file(wish: Wish, unit: Unit) -> tuple[tuple[Verb, ...], str]:
    verbs: tuple[Verb, ...] = ()
    if unit.file_state.startswith("masked") and (wish.started or wish.enabled):
        verbs += ("unmask",)
    # a unit that is loaded without a file (a mount, a device) has no state that could change
    if wish.enabled and unit.file_state not in ENABLED_ENOUGH and (unit.file_state or unit.load == "not-found"):
        verbs += ("enable",)
    if wish.enabled is False and unit.file_state in ("enabled", "enabled-runtime", "linked", "linked-runtime", "alias"):
        verbs += ("disable",)
    return verbs, f"is {unit.file_state or 'absent'}" if verbs else ""


def _run(wish: Wish, unit: Unit, configuration: Configuration, record: Record | None) -> Decision:
    """Start, restart or reload."""
    if unit.active == "failed":
        return Decision(("reset-failed", "start"), f"has failed ({unit.result})", True)
    if unit.is_job:
        return _run_job(unit, configuration, record)
    if unit.active == "activating" and unit.sub == "auto-restart":
        return Decision(("restart",), "fails again and again", True)
    if unit.active not in RUNNING:
        # activating and deactivating too: start waits for the end of both
        return Decision(("start",), f"is {unit.active}", True)
    return _compare(wish, unit, configuration, record)


def _compare(wish: Wish, unit: Unit, configuration: Configuration, record: Record | None) -> Decision:
    """Does the running unit have the configuration on disk?"""
    if record is None:
        old = configuration.newest > unit.started_at
        return Decision(("restart",), "configuration is newer than its start", True) if old else Decision(adopt=True)
    again: Verb = "reload-or-restart" if wish.reload and record.definition == configuration.definition else "restart"
    same = (record.digest, record.definition) == (configuration.digest, configuration.definition)
    if record.invocation_id == unit.invocation:
        return Decision() if same else Decision((again,), "configuration changed", True)
    # somebody else started it, or the machine did: it has what lay on disk at that moment
    newest = configuration.newest if same else configuration.newest_beside
    if newest > unit.started_at:
        return Decision((again,), "configuration changed after somebody else started it", True)
    return Decision(adopt=True)


def _run_job(unit: Unit, configuration: Configuration, record: Record | None) -> Decision:
    known = record is not None and (record.digest, record.definition) == (
        configuration.digest,
        configuration.definition,
    )
    if known:
        return Decision()
    reason = "configuration changed" if record else "never ran with this configuration"
    # one that runs at this moment may have read the old configuration: wait for its end, then run it again
    return Decision(("start",) if unit.active in STOPPED else ("start", "start"), reason, True)


def complaint(wish: Wish, unit: Unit) -> str:
    """Why the unit, after all was done, is not as wished; empty when it is."""
    if wish.masked or not wish.started:
        return "" if unit.active in STOPPED else f"is still {unit.active}"
    if unit.active in RUNNING:
        return ""
    if unit.is_job and unit.active != "failed":
        return ""
    if not unit.condition_met:
        return "was not started, because a Condition or Assert of its unit file does not hold on this host"
    return f"is {unit.active} ({unit.sub}), result: {unit.result}"


def describe(wish: Wish, unit: Unit, decision: Decision, digests: tuple[str, str]) -> Mapping[str, str]:
    """One entry of a difference: the unit before and after."""
    old, new = (f" configuration {digest[:12]}" if digest else "" for digest in digests)
    before = f"{unit.active}, {unit.file_state or 'absent'}{old}\n"
    active = unit.active
    if "stop" in decision.verbs:
        active = "inactive"
    elif {"start", "restart"} & set(decision.verbs):
        active = "run again" if unit.is_job else "active"
    state = unit.file_state
    for verb, becomes in (("unmask", "disabled"), ("enable", "enabled"), ("disable", "disabled"), ("mask", "masked")):
        if verb in decision.verbs:
            state = becomes
    after = f"{active}, {state or 'absent'}{new}\n{' + '.join(decision.verbs)}: {decision.reason}\n"
    return {"before_header": wish.name, "after_header": wish.name, "before": before, "after": after}
