"""Bring columns from plaintext to sealed values, online: pass, guard, census, rewrite, date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import psycopg

from sensmail.keyd.client import KeyService
from sensmail.rotation import residue, state
from sensmail.rotation.census import census
from sensmail.rotation.errors import Blocked, NotProtectable, RotationError, told
from sensmail.rotation.inspect import inspect
from sensmail.rotation.model import Table, Wanted
from sensmail.rotation.passes import Sessions, persist, run_pass
from sensmail.rotation.progress import Progress
from sensmail.rotation.transform import Protect

PASSES = 10  # over one table: each takes what writers put in clear beside the one before


@dataclass(frozen=True)
class Protected:
    """What became of one table.

    Attributes:
        in_clear: values of each column that were in clear, or in check mode still are.
        census: counts by column and state; empty in check mode.
        protected_from: since when its files hold nothing in clear; None: not rewritten yet.
        notes: advice.
    """

    table: Table
    in_clear: dict[str, int]
    census: dict[str, dict[str, int]]
    protected_from: dict[str, datetime | None]
    changed: bool
    notes: tuple[str, ...] = ()


def tables(sessions: Sessions, wanted: Sequence[Wanted]) -> list[Table]:
    """Every table of these columns, looked at and found fit.

    Raises:
        NotProtectable: one is not; nothing was written anywhere.
    """
    table_of = attrgetter("database", "schema", "table", "login", "subject")
    found, seen = [], set()
    for _, columns in groupby(sorted(wanted, key=lambda each: (table_of(each), each.field)), table_of):
        several = list(columns)
        first = several[0]
        if (first.database, first.schema, first.table) in seen:
            raise NotProtectable(f"{first}: all columns of a table have one subject column and one login")
        seen.add((first.database, first.schema, first.table))
        with sessions.on(first) as connection:
            try:
                found.append(inspect(connection, several))
            except psycopg.errors.InsufficientPrivilege as error:
                fix = f"grant {first.login} SELECT and UPDATE on it, or log in as its owner"
                raise NotProtectable(f"{first}: {told(error)}; {fix}") from None
    return found


def preview(sessions: Sessions, wanted: Sequence[Wanted]) -> list[Protected]:
    """What `protect` would do. Writes nothing and needs no key service."""
    result = []
    with sessions.engine() as engine:
        for table in tables(sessions, wanted):
            with sessions.on(table) as connection:
                clear = residue.in_clear(connection, table)
            dates = state.protected_from(engine, table)
            todo = any(clear.values()) or None in dates.values()
            result.append(Protected(table, clear, {}, dates, todo, table.notes))
    return result


def protect(
    sessions: Sessions, keys: KeyService, wanted: Sequence[Wanted], progress: Progress, *, rewrite: bool = True
) -> list[Protected]:
    """Seal what is in clear, and see to it that nothing in clear comes again or stays in the tables' files.

    Args:
        sessions: where the databases are.
        keys: the key service.
        wanted: columns, of any tables.
        progress: who watches.
        rewrite: write tables anew at the end, which locks each while it lasts; without it no date is set.

    Raises:
        NotProtectable: nothing was written. Blocked: values that were refused; all others are sealed.
        Busy, RotationError, StoreError, KeyServiceError: run again to go on.
    """

    def begin() -> list[Table]:
        found = tables(sessions, wanted)
        with sessions.engine() as engine:
            state.register(engine, wanted)
        return found

    found = persist(begin, progress)
    return [persist(lambda each=each: _protect(sessions, keys, each, progress, rewrite), progress) for each in found]  # type: ignore[misc]


def _protect(sessions: Sessions, keys: KeyService, table: Table, progress: Progress, rewrite: bool) -> Protected:
    with sessions.engine() as engine, sessions.on(table) as connection:
        state.take_lock(engine)
        if table.database != sessions.settings.name:
            state.ensure_schema(connection)
        clear = residue.in_clear(connection, table)
        dates = state.protected_from(engine, table)
        job = state.find_job(connection, "protect")
        changed = job is not None or any(clear.values()) or None in dates.values()
        if changed:
            if any(clear.values()):
                state.unset_protected(engine, table)
            job = state.open_job(connection, "protect", "seal")
            for phase in _phases(sessions, keys, table, progress, job):
                state.set_phase(connection, job, phase)
        counts = census(connection, table, keys, progress)
        _expect_sealed(table, counts)
        if changed and job:
            if rewrite or all(column.by_type for column in table.columns):
                state.set_phase(connection, job, "rewrite")
                if not all(column.by_type for column in table.columns):
                    residue.rewrite(connection, table, progress)
                state.set_protected(engine, table)
            state.end_job(connection, job)
        return Protected(table, clear, counts, state.protected_from(engine, table), changed, table.notes)


def _phases(sessions: Sessions, keys: KeyService, table: Table, progress: Progress, job: state.Job) -> Iterator[str]:
    """Seal until nothing is in clear; then guard, and seal what came in before the guard stood."""
    transform = Protect(table, keys, f"protect {job.id}")
    for _ in range(PASSES):
        yield "seal"
        run_pass(sessions, table, transform, job.id, "seal", progress)
        with sessions.on(table) as connection:
            count, refused = state.refusals(connection, job.id, table)
            state.restart_pass(connection, job.id, table, "seal")
            if refused:
                fix = f"correct or remove these, run again: {'; '.join(refused)}"
                raise Blocked(f"{table}: {count} values were left as they are, the others are sealed; {fix}")
            if any(residue.in_clear(connection, table).values()):
                continue
            yield "guard"
            if residue.guard(connection, table, progress) and any(residue.in_clear(connection, table).values()):
                continue
            residue.validate(connection, table, progress)
            return
    fix = "let them write sealed values first, then run again"
    raise RotationError(f"{table}: writers keep putting values in clear, after {PASSES} passes; {fix}")


def _expect_sealed(table: Table, counts: dict[str, dict[str, int]]) -> None:
    bad = [
        f"{column}: {states[state]} {state}"
        for column, states in counts.items()
        for state in ("plaintext", "unknown", "destroyed", "invalid")
        if states[state]
    ]
    if bad:
        fix = "values of another key file, or put back from before; correct or remove them, run again"
        raise Blocked(f"{table}: the census found {', '.join(bad)}; {fix}")
