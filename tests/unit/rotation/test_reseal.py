"""New keys for everybody while others read and write: nothing lost, nothing left behind, nothing overwritten."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.unit.rotation.conftest import People, document

from sensmail.fields import row_key, text
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import Refused
from sensmail.keyd.policy import Policy
from sensmail.keyd.protocol import Sealed, Sealing
from sensmail.policy.approval import Approval
from sensmail.rotation import passes, state
from sensmail.rotation.actions import Rotation
from sensmail.rotation.due import calendar, run_due
from sensmail.rotation.errors import Blocked, Busy, NotDue
from sensmail.rotation.model import Changes
from sensmail.rotation.passes import Sessions
from sensmail.rotation.progress import Progress
from sensmail.rotation.protect import protect
from sensmail.rotation.reseal import Reason, reseal
from sensmail.rotation.statements import Statements
from sensmail.rotation.terms import Terms
from sensmail.store import Connection

WHY = Reason("test", "test of reseal")
APPROVAL = Approval("privacy_officer", "Hong Gildong", "2026-17")


@pytest.fixture
def sealed(people: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> People:
    """600 people whose values are sealed, in chunks of 100 rows."""
    people.make(600)
    protect(sessions, keys, people.wanted(), quiet, rewrite=False)
    return people


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "FIRST_ROWS", 100)
    monkeypatch.setattr(passes, "MOST_ROWS", 100)


def do(sessions: Sessions, keys: KeyService, progress: Progress | None = None, settle_s: float = 0) -> None:
    result = reseal(sessions, keys, [], WHY, progress or Progress(), settle_s=settle_s)
    for columns in result.census.values():
        for states in columns.values():
            assert sum(states.values()) == states["active"]


def versions(people: People) -> set[int]:
    rows = people.rows("phone, note")
    return {int.from_bytes(text.unpack(phone.encode())[2:6]) for phone, _ in rows if phone} | {
        int.from_bytes(note[2:6]) for _, note in rows if note
    }


def test_everything_under_new_keys(sealed: People, sessions: Sessions, keys: KeyService) -> None:
    before = sealed.opened()
    assert versions(sealed) == {1}
    for version in (2, 3):
        do(sessions, keys)
        assert versions(sealed) == {version}
        assert sealed.opened() == before
        counts = keys.status().counts
        assert (counts["replaced"], counts["restore_only"], counts["active"]) == (0, 600 * (version - 1), 600)


def test_writers_are_never_overwritten(
    sealed: People,
    sessions: Sessions,
    keys: KeyService,
    monkeypatch: pytest.MonkeyPatch,
    beside: Callable[[], Connection],
) -> None:
    """Between reading and writing of every chunk, rows of it are updated, deleted and moved to another person."""
    writer, original, touched = beside(), Statements.write, []

    def write(self: Statements, connection: Connection, changes: Changes) -> int:
        rows = changes.rows
        if len(rows) > 50:
            subject = uuid.UUID(bytes=rows.subjects[3])
            key, deleted, emptied = (uuid.UUID(bytes=rows.keys[0][number]) for number in (3, 4, 5))
            touched.append(key)
            new = text.pack(keys.seal([Sealing(subject, 20, row_key(key), b"newest")])[0]).decode()
            writer.execute("UPDATE people SET phone = %s WHERE id = %s", (new, key))
            writer.execute("DELETE FROM people WHERE id = %s", (deleted,))
            writer.execute("UPDATE people SET phone = NULL WHERE id = %s", (emptied,))
            born = keys.new_subjects()[0]
            note = keys.seal([Sealing(born, 21, row_key(born), b"born")])[0]
            writer.execute("INSERT INTO people (id, subject, note) VALUES (%s, %s, %s)", (born, born, note))
        return original(self, connection, changes)

    monkeypatch.setattr(Statements, "write", write)
    do(sessions, keys)
    assert len(touched) == 6
    found = dict(zip([row[0] for row in sealed.rows()], sealed.opened(), strict=True))
    assert len(found) == 600
    assert [found[key][0] for key in touched] == ["newest"] * 6
    assert sum(note == "born" for _, note in found.values()) == 6
    assert sum(phone is None for phone, _ in found.values()) == 12


def test_a_late_value_keeps_the_old_key(
    sealed: People,
    sessions: Sessions,
    keys: KeyService,
    beside: Callable[[], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An open transaction holds a value that was sealed before: the old key stays until it has ended."""
    subject, key = sealed.rows("subject, id")[0]
    late = sealed.seal(subject, 21, key, "late")
    writer = beside()
    writer.execute("BEGIN")
    writer.execute("INSERT INTO people (subject) VALUES (NULL)")
    retired: list[float] = []
    original = KeyService.retire
    monkeypatch.setattr(KeyService, "retire", lambda *given: retired.append(time.monotonic()) or original(*given))

    class Watch(Progress):
        def waiting(self, why: str) -> None:
            assert "open transactions" in why
            writer.execute("UPDATE people SET note = %s WHERE id = %s", (late, key))
            writer.execute("COMMIT")

    do(sessions, keys, Watch())
    assert len(retired) == 1
    assert ("late" in {note for _, note in sealed.opened()}) is True


def test_a_value_that_comes_after_all_is_still_brought_over(
    sealed: People, sessions: Sessions, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, key = sealed.rows("subject, id")[0]
    late, original = sealed.seal(subject, 21, key, "late"), KeyService.retire

    def retire(*given: str) -> int:
        sealed.admin.execute("UPDATE people SET note = %s WHERE id = %s", (late, key))
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(KeyService, "retire", retire)
    do(sessions, keys)
    assert "late" in {note for _, note in sealed.opened()}


def test_bad_values_keep_the_old_keys_and_are_named(
    sealed: People, sessions: Sessions, keys: KeyService, quiet: Progress
) -> None:
    rows = sealed.rows()
    altered = bytearray(rows[3][3])
    altered[-1] ^= 1
    sealed.admin.execute("UPDATE people SET note = %s WHERE id = %s", (bytes(altered), rows[3][0]))
    sealed.admin.execute("UPDATE people SET subject = gen_random_uuid() WHERE id = %s", (rows[9][0],))
    for _ in range(2):
        with pytest.raises(Blocked, match=f"note, row {rows[3][0]}: altered") as error:
            reseal(sessions, keys, [], WHY, quiet, settle_s=0)
        assert f"row {rows[9][0]}: unknown" in str(error.value)
    found = {row[0]: row for row in sealed.rows()}
    assert found[rows[3][0]][3] == bytes(altered)
    assert found[rows[9][0]][2:] == rows[9][2:]
    assert keys.status().counts["replaced"] == 599
    assert keys.status().counts["restore_only"] == 0
    assert versions(sealed) == {1, 2}

    sealed.admin.execute("UPDATE people SET note = %s WHERE id = %s", (rows[3][3], rows[3][0]))
    sealed.admin.execute("UPDATE people SET subject = %s WHERE id = %s", (rows[9][1], rows[9][0]))
    do(sessions, keys)
    assert len(sealed.opened()) == 600
    old = {row[0] for row in sealed.rows() if row[3][2:6] == bytes([0, 0, 0, 1])}
    assert old == {rows[9][0]}  # was not found under its person when the keys changed; the key is that person's newest


def test_the_purged_and_the_closed(sealed: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> None:
    rows = sealed.rows()
    keys.close_subjects([rows[0][1]], "test", "test")
    keys.destroy_subjects([rows[1][1]], "test", "test", "privacy_officer")
    result = reseal(sessions, keys, [], WHY, quiet, settle_s=0)
    (columns,) = result.census.values()
    assert (columns["phone"]["active"], columns["phone"]["tombstone"]) == (599, 1)
    keys.reopen_subjects([rows[0][1]], "test", "test")
    item = Sealed(rows[0][1], 21, row_key(rows[0][0]), sealed.rows()[0][3])
    assert keys.check([item], "test") == [""]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("at", range(12))
def test_cut_off_anywhere_and_taken_up_again(
    at: int, sealed: People, sessions: Sessions, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same job, with the same new versions: nobody gets a third."""
    before, calls = sealed.opened(), 0
    names = {KeyService: ["replace", "reseal", "census", "retire"], state: ["move", "set_phase", "end_job"]}

    def stopping(original: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at * 2 + 1:
                raise Stopped
            result = original(*given, **named)
            if calls == at * 2 + 2:
                raise Stopped
            return result

        return call

    with monkeypatch.context() as patch:
        for owner, functions in names.items():
            for name in functions:
                patch.setattr(owner, name, stopping(getattr(owner, name)))
        with pytest.raises(Stopped):
            do(sessions, keys)
    assert sealed.opened() == before  # nothing is unreadable in between
    do(sessions, keys)
    assert versions(sealed) == {2}
    assert sealed.opened() == before


def test_a_lost_connection_is_found_again(
    sealed: People, sessions: Sessions, keys: KeyService, beside: Callable[[], Connection]
) -> None:
    """Every backend of the job is ended, again and again; the key service is restarted."""
    ending, done = beside(), threading.Event()

    def end_all() -> None:
        while not done.wait(0.3):
            ending.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query ~ 'sensmail_stage|COPY'"
            )

    before = sealed.opened()
    thread = threading.Thread(target=end_all)
    thread.start()
    try:
        threading.Timer(2.0, done.set).start()
        do(sessions, keys)
    finally:
        done.set()
        thread.join()
    assert sealed.opened() == before
    assert versions(sealed) == {2}


def terms(wanted: list[object]) -> Terms:
    return Terms(msgspec.convert(document(), Policy).keys, tuple(wanted))  # type: ignore[arg-type]


@pytest.fixture
def rotation(sealed: People, sessions: Sessions, keys: KeyService, quiet: Progress) -> Rotation:
    return Rotation(sessions, keys, terms([]), "test", "test", quiet, settle_s=0)


def test_what_is_due(rotation: Rotation, sealed: People) -> None:
    names = [due.action for due in rotation.calendar()]
    assert names == ["reseal", "roll", "root"]
    with rotation.sessions.engine() as engine:
        soon = {due.action: due.on for due in calendar(engine, rotation.terms, destroying=False)}
    now = datetime.now(UTC)
    assert timedelta(days=29) < soon["roll"] - now < timedelta(days=31)
    assert timedelta(days=364) < soon["reseal"] - now < timedelta(days=366)
    assert all("not due before" in line for line in rotation.due())

    def run(days: int) -> list[str]:
        with rotation.sessions.engine() as engine:
            carry_out = lambda action: rotation.carry_out(action).text  # noqa: E731
            return list(run_due(engine, rotation.terms, carry_out, now + timedelta(days=days), destroying=False))

    reseal_line, roll_line, root_line = run(40)
    assert reseal_line.startswith("reseal: not due before")
    assert "2 in every place" in roll_line
    assert root_line.startswith("root: not due before")
    reseal_line, _, root_line = run(800)
    assert "every value is under a new key" in reseal_line
    assert "root: DUE since" in root_line
    assert "needs the approval of privacy_officer" in root_line
    assert run(20)[-1].startswith("destroy_replaced: not due before")
    assert versions(sealed) == {2}


def test_what_fails_does_not_keep_the_rest_from_its_time(rotation: Rotation) -> None:
    done: list[str] = []

    def carry_out(action: str) -> str:
        if action == "reseal":
            raise Blocked("one value is in nobody's way")
        done.append(action)
        return "done"

    with rotation.sessions.engine() as engine:
        moment = datetime.now(UTC) + timedelta(days=800)
        lines = run_due(engine, rotation.terms, carry_out, moment, destroying=False)
        assert "FAILED: one value" in next(lines)
        with pytest.raises(Blocked):
            list(lines)
    assert done == ["roll"]


def test_the_end_of_replaced_keys(rotation: Rotation, sealed: People, keys: KeyService) -> None:
    with pytest.raises(NotDue, match="no key was replaced yet"):
        rotation.carry_out("destroy_replaced", APPROVAL)
    rotation.carry_out("reseal")
    for approval in (None, Approval("ceo", "Kim", "1"), Approval("privacy_officer", " ", "1")):
        with pytest.raises(Refused):
            rotation.carry_out("destroy_replaced", approval)
    with pytest.raises(NotDue, match="kept for restores for 35 days"):
        rotation.carry_out("destroy_replaced", APPROVAL)
    sealed.admin.execute("UPDATE sensmail_rotation.job SET ended_at = ended_at - interval '36 days'")
    subject, key = sealed.rows("subject, id")[0]
    assert keys.status().counts["restore_only"] == 600
    outcome = rotation.carry_out("destroy_replaced", APPROVAL)
    assert outcome.detail["destroyed"] == 600
    assert keys.status().counts["restore_only"] == 0
    assert not keys.status().destroying
    assert sealed.open([(subject, 21, key, sealed.rows("note")[0][0])])


def test_keys_that_a_value_needs_are_not_destroyed(rotation: Rotation, sealed: People, keys: KeyService) -> None:
    old, key = sealed.rows("note, id")[0]
    rotation.carry_out("reseal")
    sealed.admin.execute("UPDATE sensmail_rotation.job SET ended_at = ended_at - interval '36 days'")
    sealed.admin.execute("UPDATE people SET note = %s WHERE id = %s", (old, key))
    with pytest.raises(Blocked, match="note: 1 values are under keys kept for restores"):
        rotation.carry_out("destroy_replaced", APPROVAL)
    assert keys.status().counts["restore_only"] == 600


def test_a_roll(rotation: Rotation, keys: KeyService) -> None:
    before = keys.status().epoch
    assert rotation.carry_out("roll").detail == {"epoch": before + 1}


def test_no_end_of_replaced_keys_while_a_reseal_is_under_way(
    rotation: Rotation, sealed: People, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reseal that ended is old, but another one has retired keys just now."""
    rotation.carry_out("reseal")
    sealed.admin.execute("UPDATE sensmail_rotation.job SET ended_at = ended_at - interval '36 days'")

    def stopped(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(state, "end_job", stopped)
        with pytest.raises(Stopped):
            rotation.carry_out("reseal")
    with pytest.raises(Busy, match="finish the reseal first"):
        rotation.carry_out("destroy_replaced", APPROVAL)
    assert keys.status().counts["restore_only"] == 1200
    rotation.carry_out("reseal")
    with pytest.raises(NotDue):
        rotation.carry_out("destroy_replaced", APPROVAL)


def test_the_end_of_replaced_keys_waits_for_the_lock_of_rotation(
    rotation: Rotation, sealed: People, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation.carry_out("reseal")
    sealed.admin.execute("UPDATE sensmail_rotation.job SET ended_at = ended_at - interval '36 days'")
    monkeypatch.setattr(state, "_LOCK_WAIT", "100ms")
    with rotation.sessions.engine() as other:
        state.take_lock(other)
        with pytest.raises(Busy):
            rotation.carry_out("destroy_replaced", APPROVAL)
    assert keys.status().counts["restore_only"] == 600
    original = KeyService.destroy_retired

    def held(*given: str) -> int:
        with rotation.sessions.engine() as other, pytest.raises(Busy):
            state.take_lock(other)
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(KeyService, "destroy_retired", held)
    assert rotation.carry_out("destroy_replaced", APPROVAL).detail["destroyed"] == 600


def roll_line(rotation: Rotation) -> str:
    (line,) = [line for line in rotation.due() if line.startswith("roll:")]
    return line


def test_a_roll_that_was_cut_off_is_due_at_once(
    rotation: Rotation, keys: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epoch stands in the register already."""

    def stopped(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(state, "end_job", stopped)
        with pytest.raises(Stopped):
            rotation.carry_out("roll")
    assert keys.status().epoch == 2
    line = roll_line(rotation)
    assert "one was cut off and goes on" in line
    assert "epoch 3 in every place" in line
    assert roll_line(rotation).startswith("roll: not due before")


def test_a_roll_is_due_while_old_keys_may_be_readable(rotation: Rotation, sealed: People, keys: KeyService) -> None:
    rotation.carry_out("roll")
    keys.destroy_subjects([sealed.rows("subject")[0][0]], "test", "test", "privacy_officer")
    assert keys.status().destroying
    line = roll_line(rotation)
    assert "one is incomplete" in line
    assert "epoch 3 in every place" in line
    assert not keys.status().destroying
    assert roll_line(rotation).startswith("roll: not due before")
