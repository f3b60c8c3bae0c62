"""Checks of article 4.1's keys: intervals that fit together, callers that may do what is promised."""

from __future__ import annotations

from collections.abc import Iterator

from sensmail.policy.durations import Duration
from sensmail.policy.errors import Problem, quoted
from sensmail.policy.law import Law
from sensmail.policy.source import Data, Key, Source

KEYS: Key = ("policy", "art4", "encryption", "keys")
#: What somebody must be allowed, or a promise cannot be kept.
NEEDED = {
    "roll": "epoch_interval and article 7",
    "replace": "reseal_interval",
    "reseal": "reseal_interval",
    "census": "reseal_interval",
    "retire": "reseal_interval",
    "destroy_retired": "kept_for_restore",
    "destroy": "article 7",
    "open": "article 5",
}
#: Setting of a caller, the acts that need it, and an example.
_BESIDE = (
    ("purposes", ("open",), "[own_data]"),
    ("openings_per_minute", ("open",), "60"),
    ("new_subjects_per_minute", ("subjects", "adopt"), "60"),
)


def present(source: Source, _law: Law) -> Iterator[Problem]:
    """Only earlier versions of a policy may be without keys."""
    if source.get(*KEYS) is None and isinstance(source.get(*KEYS[:-1]), dict):
        fix = "add keys, as docs/policy.md says: epoch_interval, reseal_interval, root_interval and so on"
        yield source.problem(KEYS, "art4.encryption.keys is missing", fix)


def intervals(source: Source, _law: Law) -> Iterator[Problem]:
    """Replaced keys are gone before the next ones are replaced, or their destruction would never be due."""
    kept, reseal = (_period(source.get(*KEYS, name)) for name in ("kept_for_restore", "reseal_interval"))
    if kept and reseal and not reseal.covers(kept):
        what = f"kept_for_restore is {kept}, longer than reseal_interval, {reseal}"
        fix = "write a period no longer than reseal_interval: the age of the oldest backup that may be restored"
        yield source.problem((*KEYS, "kept_for_restore"), what, fix)


def callers(source: Source, _law: Law) -> Iterator[Problem]:
    """Each unit stands once, opens for a purpose at a rate or not at all, and everything promised can be done."""
    seen: dict[object, int] = {}
    for path, caller in source.mappings(*KEYS, "callers"):
        unit = caller.get("unit")
        if unit in seen:
            what = f"caller {quoted(unit)} was already given on line {seen[unit]}"
            yield source.problem((*path, "unit"), what, "merge the two")
        elif isinstance(unit, str):
            seen[unit] = source.line((*path, "unit"))
        yield from _rates(source, path, caller)
    allowed = {str(act) for path, _caller in source.mappings(*KEYS, "callers") for act in source.entries(*path, "acts")}
    for act, promise in NEEDED.items() if allowed else ():
        if act not in allowed:
            what = f"no caller may {quoted(act)}, which {promise} needs"
            yield source.problem((*KEYS, "callers"), what, f"add {act} to the acts of a caller")


def _rates(source: Source, path: Key, caller: dict[str, Data]) -> Iterator[Problem]:
    """What an act needs beside it stands there, and stands nowhere else."""
    about, acts = f"caller {quoted(caller.get('unit'))}", source.entries(*path, "acts")
    for name, needed_by, example in _BESIDE:
        given, act = caller.get(name), next((each for each in needed_by if each in acts), None)
        if act and (given is None or given == []):
            what = f"{about} may {act}, but has no {name}"
            yield source.problem(path, what, f"add {name}, such as {example}, or remove {act} from its acts")
        elif not act and given:
            what = f"{about} has {name}, but may not {needed_by[0]}"
            yield source.problem((*path, name), what, f"remove {name}, or add {needed_by[0]} to its acts")


def _period(value: Data) -> Duration | None:
    try:
        return Duration.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None  # the model says so
