"""New keys for every subject, online: replace, reseal, census, retire; and the end of keys that nothing needs any more.

A job keeps its phase in the engine's database. Every phase may be repeated, so a run that was cut off, or that lost the
database or the key service, begins again with the phase it was in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import sql

from sensmail.keyd.client import KeyService
from sensmail.keyd.protocol import MAX_ITEMS
from sensmail.rotation import state
from sensmail.rotation.census import census
from sensmail.rotation.errors import Blocked, Busy
from sensmail.rotation.model import Table, Wanted
from sensmail.rotation.passes import Sessions, persist, run_pass
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import tables
from sensmail.rotation.transform import Reseal, separately
from sensmail.store import Connection

PASSES = 10
SETTLE_S = 10.0  # a writer that sealed before may take so long to insert
OPEN_TRANSACTIONS_S = 600.0


@dataclass
class Resealed:
    """What a reseal came to: counts by table, column and state; key versions that are kept for restores from now on."""

    census: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    retired: int = 0


@dataclass(frozen=True)
class Reason:
    """What stands in the records of the key service."""

    actor: str
    reason: str
    approver: str = ""


def all_wanted(engine: Connection, data_map: Sequence[Wanted]) -> list[Wanted]:
    """Every sealed column there is: those of the data map, and those that were ever protected."""
    known = {each.field: each for each in data_map}
    for each in state.registered(engine):
        other = known.get(each.field)
        renamed = other is not None and other.database == each.database and other.place != each.place
        if not renamed:  # of the same place the register knows the login
            known[each.field] = each
    return list(known.values())


def reseal(
    sessions: Sessions, keys: KeyService, data_map: Sequence[Wanted], why: Reason, progress: Progress, *,
    settle_s: float = SETTLE_S,
) -> Resealed:  # fmt: skip
    """Give every subject a new key, bring every value under it, and retire the old keys once nothing needs them.

    Args:
        sessions: where the databases are.
        keys: the key service.
        data_map: sealed columns by policy; what is on the register comes to it.
        why: for the records.
        progress: who watches.
        settle_s: how long a writer may hold a value that it sealed before the keys changed.

    Raises:
        Blocked: values stay under old keys, which therefore stay too; nothing is lost. Run again after repair.
        NotProtectable, Busy, RotationError, StoreError, KeyServiceError: run again to go on.
    """

    def run() -> Resealed:
        with sessions.engine() as engine:
            wanted = all_wanted(engine, data_map)
            found = tables(sessions, wanted)
            state.register(engine, wanted)
        return _Reseal(sessions, keys, found, why, progress, settle_s).run()

    return persist(run, progress)


class _Reseal:
    """One try of a job; a later one goes on."""

    def __init__(
        self, sessions: Sessions, keys: KeyService, found: Sequence[Table], why: Reason, progress: Progress,
        settle_s: float,
    ) -> None:  # fmt: skip
        self._sessions, self._keys, self._tables, self._why = sessions, keys, found, why
        self._progress, self._settle_s = progress, settle_s

    def run(self) -> Resealed:
        with self._sessions.engine() as engine:
            state.take_lock(engine)
            job = state.open_job(engine, "reseal", "replace", reason=self._why.reason, approver=self._why.approver)
            if job.phase == "replace":
                self._replace()
                state.set_phase(engine, job, "reseal")
            result = Resealed(self._until_exact(engine, job))
            state.set_phase(engine, job, "retire")
            self._progress.phase("retire")
            result.retired = self._keys.retire(self._why.actor, self._why.reason, self._why.approver)
            late = self._census()
            if any(states["restore_only"] for states in _columns(late)):
                late = self._until_exact(engine, job)  # a writer came later than the time to settle
            result.census = late
            state.end_job(engine, job)
            return result

    def _replace(self) -> None:
        """A new key version for everybody who has a sealed value; who has one from this job already is skipped."""
        for table in self._tables:
            with self._sessions.on(table) as connection:
                subjects = _subjects(connection, table)
            self._progress.phase("replace", len(subjects))
            for start in range(0, len(subjects), MAX_ITEMS):
                part = subjects[start : start + MAX_ITEMS]
                separately(self._replaced, part)  # of a subject that has no keys, no value is resealed: see refusals
                self._progress.moved(len(part))
            self._progress.end()

    def _replaced(self, subjects: Sequence[UUID]) -> list[None]:
        self._keys.replace(subjects)
        return [None] * len(subjects)

    def _until_exact(self, engine: Connection, job: state.Job) -> dict[str, dict[str, dict[str, int]]]:
        """Passes until the census finds no value under an old key."""
        for _ in range(PASSES):
            state.set_phase(engine, job, "reseal")
            for table in self._tables:
                self._pass(table, job)
            state.set_phase(engine, job, "census")
            self._progress.phase("census")
            self._settle(engine)
            counts = self._census()
            if not any(states["replaced"] + states["restore_only"] for states in _columns(counts)):
                return counts
            problems = self._again(job)
            if problems:
                raise Blocked(f"values stay under old keys, and so the old keys stay: {'; '.join(problems)}. "
                              "Correct or remove these, run again")  # fmt: skip
        raise Blocked(f"after {PASSES} passes values come under old keys still; does a writer put back old values?")

    def _pass(self, table: Table, job: state.Job) -> None:
        if table.database != self._sessions.settings.name:
            with self._sessions.on(table) as connection:
                state.ensure_schema(connection)
        transform = Reseal(table, self._keys, f"reseal {job.id}")
        run_pass(self._sessions, table, transform, job.id, "reseal", self._progress)

    def _again(self, job: state.Job) -> list[str]:
        """What the passes refused; the next pass looks at every row once more."""
        problems: list[str] = []
        for table in self._tables:
            with self._sessions.on(table) as connection:
                count, texts = state.refusals(connection, job.id, table)
                state.restart_pass(connection, job.id, table, "reseal")
            problems += [f"{count} of {table}", *texts] if count else []
        return problems

    def _census(self) -> dict[str, dict[str, dict[str, int]]]:
        counts = {}
        for table in self._tables:
            with self._sessions.on(table) as connection:
                counts[str(table)] = census(connection, table, self._keys, self._progress)
        return counts

    def _settle(self, engine: Connection) -> None:
        """Wait until nobody can still bring a value that was sealed before the keys changed.

        Transactions that are open now are waited for exactly, in every database of the server; a value that was sealed
        before its transaction began, for a time.
        """
        until = time.monotonic() + OPEN_TRANSACTIONS_S
        time.sleep(self._settle_s)
        now = engine.execute("SELECT pg_current_xact_id()").fetchall()[0][0]
        oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > %s::text::xid8"
        while not engine.execute(oldest, (str(now),)).fetchall()[0][0]:
            if time.monotonic() > until:
                raise Busy(f"a transaction stays open for {OPEN_TRANSACTIONS_S:.0f} s now; end it, run again: "
                           "SELECT pid, xact_start FROM pg_stat_activity ORDER BY xact_start")  # fmt: skip
            self._progress.waiting("open transactions may still bring values under old keys")
            time.sleep(0.2)


def check_unneeded(sessions: Sessions, keys: KeyService, data_map: Sequence[Wanted], progress: Progress) -> None:
    """Whether no value anywhere needs a key that is kept for restores.

    Raises:
        Blocked: one does.
    """
    with sessions.engine() as engine:
        wanted = all_wanted(engine, data_map)
    for table in tables(sessions, wanted):
        with sessions.on(table) as connection:
            for column, states in census(connection, table, keys, progress).items():
                if states["restore_only"]:
                    text = f"{table}.{column}: {states['restore_only']} values are under keys kept for restores"
                    raise Blocked(f"{text}; reseal first, which brings them under the newest")


def _columns(counts: dict[str, dict[str, dict[str, int]]]) -> list[dict[str, int]]:
    return [states for columns in counts.values() for states in columns.values()]


def _subjects(connection: Connection, table: Table) -> list[UUID]:
    """Everybody who has a value in the table."""
    filled = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(each.name)) for each in table.columns)
    people = sql.SQL("SELECT DISTINCT {0}::uuid FROM {1} WHERE ({2}) AND {0} IS NOT NULL").format(
        sql.Identifier(table.subject), table.identifier, filled
    )
    query = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(people)
    with connection.cursor().copy(query) as copy:
        copy.set_types(["bytea"])
        return [UUID(bytes=raw) for (raw,) in copy.rows()]
