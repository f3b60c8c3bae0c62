"""Checks that span several places of the policy file.

They read the plain data and not the typed model, so that they still speak when the file has other mistakes: the reader
gets everything at once. Anything of the wrong shape is left to the model's own messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import get_args

from sensmail.policy import check_keys, check_rights
from sensmail.policy.durations import Duration
from sensmail.policy.errors import Problem, quoted
from sensmail.policy.law import TIMED, Duty, Law
from sensmail.policy.model import PurposeId, Role
from sensmail.policy.source import Data, Key, Source

#: Items that cannot be sealed because something reads them to do its work: mail is routed by address.
OPEN_BY_NATURE = ("mail_id",)
#: Items that promises and programs rest on, with the only protection that keeps the promise (article 4.1).
PROTECTION = {"emergency_email": "sealed", "password": "one_way", "mail_id": "open"}

Check = Callable[[Source, Law], Iterator[Problem]]
ITEMS: Key = ("policy", "art2", "items")


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """Return advice for a word that is none of the known ones."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {quoted(close[0])}?" if close else f"use one of {', '.join(known)}"


def floors(source: Source, law: Law) -> Iterator[Problem]:
    """Refuse a period that the law does not allow, whatever the number of subjects; unverified law refuses nothing.

    Duties of the kind `one_of` are kept by the model, which knows no other value.
    """
    for duty in law.duties:
        if duty.path is None or duty.kind not in TIMED or duty.confidence == "unverified":
            continue
        path: Key = ("policy", *duty.path.split("."))
        value = source.get(*path)
        if isinstance(value, str) and (fix := _below(duty, value)):
            article = law.articles[duty.article].en
            what = (
                f"{duty.path} is {quoted(value)}, but the law asks {duty.value} ({article}, {duty.confidence} source)"
            )
            yield source.problem(path, what, fix)


def _below(duty: Duty, value: str) -> str:
    """Return what to write instead of a period that breaks a duty, or nothing."""
    try:
        promised = Duration.parse(value)
    except ValueError:
        return ""  # the model says so
    floor = duty.floor()
    if duty.kind == "at_least":
        return "" if promised.covers(floor) else f"write {floor} or longer"
    return "" if floor.covers(promised) else f"write {floor} or shorter"


def protection(source: Source, _law: Law) -> Iterator[Problem]:
    """Every personal item is sealed, but for what cannot be; an open one says why."""
    for path, item in _items(source):
        name, kind = item.get("id"), item.get("protection")
        if not isinstance(name, str) or not isinstance(kind, str):
            continue
        here = (*path, "protection")
        needed = PROTECTION.get(name)
        if needed and kind != needed:
            what = f"item {quoted(name)} is {quoted(kind)}, but must be {needed}"
            yield source.problem(here, what, f"write protection: {needed}")
        elif kind == "open" and item.get("category") != "generated" and name not in OPEN_BY_NATURE:
            what = f"personal item {quoted(name)} is not protected (open)"
            yield source.problem(here, what, "write protection: sealed")
        if kind == "open" and not item.get("reason"):
            yield source.problem(here, f"item {quoted(name)} is open without a reason", "add reason: {ko: …, en: …}")


def needed_items(source: Source, _law: Law) -> Iterator[Problem]:
    """The items that other clauses and the engine rest on are in the data map, and every item is there once."""
    seen: dict[str, int] = {}
    for path, item in _items(source):
        name = item.get("id")
        if isinstance(name, str):
            if name in seen:
                what = f"item {quoted(name)} was already given on line {seen[name]}"
                yield source.problem((*path, "id"), what, "merge the two: one item may have several places")
            seen.setdefault(name, source.line((*path, "id")))
    for name in sorted(set(PROTECTION) - set(seen)) if seen else ():
        what = f"the data map has no item {quoted(name)}, which article 4 and the engine rest on"
        yield source.problem(ITEMS, what, "add it")


def places(source: Source, _law: Law) -> Iterator[Problem]:
    """A field number and a column belong to one place only, a retired number to none; sealed columns name a subject."""
    numbers: dict[object, str] = {}
    columns: dict[object, str] = {}
    retired = source.entries("policy", "art2", "retired_fields")
    for path, item in _items(source):
        for at, place in source.mappings(*path, "places"):
            owner = f"{item.get('id')}, line {source.line(at)}"
            number, column = place.get("field"), (place.get("table"), place.get("column"))
            if number in retired:
                yield source.problem((*at, "field"), f"field number {number} is retired", f"use {_free(source)}")
            if isinstance(number, int) and numbers.setdefault(number, owner) != owner:
                what = f"field number {number} already belongs to {numbers[number]}"
                yield source.problem((*at, "field"), what, f"use {_free(source)}, or the number this column had before")
            if None not in column and columns.setdefault(column, owner) != owner:
                what = f"column {quoted('.'.join(map(str, column)))} already belongs to {columns[column]}"
                yield source.problem((*at, "column"), what, "keep it in one item")
            if item.get("protection") == "sealed" and place.get("subject") is None:
                what = f"sealed column {quoted('.'.join(map(str, column)))} names no subject, whose key seals it"
                fix = f"add subject: (the column of {place.get('table')} that holds the person's id)"
                yield source.problem(at, what, fix)


def _free(source: Source) -> int:
    """Return the next field number that was never used."""
    used = [0, *(n for n in source.entries("policy", "art2", "retired_fields") if isinstance(n, int))]
    for path, _item in _items(source):
        used += [n for _at, place in source.mappings(*path, "places") if isinstance(n := place.get("field"), int)]
    return max(used) + 1


def purposes(source: Source, _law: Law) -> Iterator[Problem]:
    """Article 1 states exactly the engine's purposes; each item serves one, and the emergency address all."""
    known: tuple[str, ...] = get_args(PurposeId)
    at: Key = ("policy", "art1", "purposes")
    stated = [entry.get("id") for _path, entry in source.mappings(*at)]
    for number, name in enumerate(stated):
        if name in stated[:number]:
            yield source.problem((*at, number, "id"), f"purpose {quoted(name)} is given twice", "keep one")
    for name in known if stated else ():
        if name not in stated:
            what = f"purpose {quoted(name)} is missing, but the engine serves it"
            yield source.problem(at, what, "add it, with its text")
    for path, item in _items(source):
        used = item.get("purposes") or []
        if not used and not item.get("duty"):
            fix = f"add purposes: [{', '.join(known)}] (those that need it), or remove the item"
            yield source.problem(path, f"item {quoted(item.get('id'))} has no purpose", fix)
        if item.get("id") == "emergency_email" and isinstance(used, list) and {*map(str, used)} != {*known}:
            what = f"the purposes of emergency_email are {quoted(used)}, not exactly those of article 1"
            yield source.problem((*path, "purposes"), what, f"write [{', '.join(known)}]")


def officers(source: Source, _law: Law) -> Iterator[Problem]:
    """Each of the three roles is held once."""
    at: Key = ("policy", "art9", "officers")
    held = [entry.get("role") for _path, entry in source.mappings(*at)]
    for number, role in enumerate(held):
        if role in held[:number]:
            yield source.problem((*at, number, "role"), f"role {quoted(role)} is given twice", "keep one entry")
    for role in get_args(Role) if source.entries(*at) else ():
        if role not in held:
            fix = "add an entry with department, phone and email"
            yield source.problem(at, f"no officer has the role {quoted(role)}", fix)


def citations(source: Source, law: Law) -> Iterator[Problem]:
    """Every cited article is one that law.yml knows, in force or replaced."""
    for path in [key for key in source.lines if key[-1:] == ("cites",)]:
        for number, cited in enumerate(source.entries(*path)):
            if isinstance(cited, str) and cited not in law.articles:
                fix = suggestion(cited, tuple(law.articles))
                yield source.problem((*path, number), f"the law article {quoted(cited)} is not known", fix)


def repetitions(source: Source, _law: Law) -> Iterator[Problem]:
    """A list of words holds each word once (three times `grant` is not `grant, change, revoke`)."""
    for path in source.lines:
        if isinstance(path[-1] if path else 0, str):
            words = source.entries(*path)
            for number, word in enumerate(words):
                if isinstance(word, str | int) and word in words[:number]:
                    yield source.problem((*path, number), f"{quoted(word)} is given twice", "keep one")


def versions(source: Source, _law: Law) -> Iterator[Problem]:
    """Earlier versions are older than this one, newest first."""
    after = source.get("policy", "art11", "effective")
    for path, entry in source.mappings("policy", "art11", "earlier"):
        day = entry.get("effective")
        if isinstance(day, str) and isinstance(after, str):
            if day >= after:
                what = f"the earlier version of {quoted(day)} is not older than {quoted(after)}"
                yield source.problem((*path, "effective"), what, "order the versions, newest first")
            after = day


CHECKS: tuple[Check, ...] = (
    floors, protection, needed_items, places, purposes, officers, citations, repetitions, versions,
    check_keys.present, check_keys.intervals, check_keys.callers, check_rights.present,
)  # fmt: skip


def check(source: Source, law: Law) -> list[Problem]:
    """Return every problem that spans more than one value."""
    return [problem for each in CHECKS for problem in each(source, law)]


def _items(source: Source) -> Iterator[tuple[Key, dict[str, Data]]]:
    return source.mappings(*ITEMS)
