"""The publisher between a real database with its sealer and a real witness: what it hands in, and what it finds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records import checkpoint, cosignature, entry, note, rows
from sensmail.records.note import VerifierKey
from sensmail.records.publisher import service, state
from sensmail.records.publisher.database import ROLE, Database
from sensmail.records.publisher.errors import (
    Away,
    Forked,
    LogUnknown,
    Misbehaves,
    RowsChanged,
    WitnessAhead,
    WitnessWentBack,
)
from sensmail.records.publisher.publisher import Publisher
from sensmail.records.publisher.settings import Settings, Witness
from sensmail.records.witness import store
from unit.records.conftest import Peer
from unit.records.rig import Rig
from unit.records.witness.conftest import Running


def watching(rig: Rig, home: Path) -> Running:
    """A witness of the access ledger."""
    keys = [VerifierKey.from_text(str(key)) for (key,) in rig.rows("SELECT log_key FROM records.log")]
    return Running(home, *(key for key in keys if "/access/" in key.name)).start()


@pytest.fixture
def running(rig: Rig, tmp_path: Path, plain_credentials: None) -> Iterator[Running]:
    rig.write(5)
    rig.sealer().seal()
    made = watching(rig, tmp_path / "witness")
    yield made
    if made.process and made.process.poll() is None:
        made.ended(kill=True)


def publisher(rig: Rig, running: Running) -> Publisher:
    return Publisher(running.client(), Database(rig.session(ROLE)), "access")


def seal(rig: Rig, count: int = 1, restart: bool = False) -> None:
    """More records; with a restart, a new key."""
    rig.now += 20_000_000
    if restart or not hasattr(rig, "at_work"):
        rig.at_work = rig.sealer()  # type: ignore[attr-defined]
    rig.write(count)
    rig.at_work.seal()  # type: ignore[attr-defined]


def kept(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.rows("SELECT turn, size, note FROM records.cosigned ORDER BY turn")


def test_every_key_in_turn_is_handed_in_then_the_newest(rig: Rig, running: Running, peer: Peer) -> None:
    for _ in range(3):
        seal(rig, 7, restart=True)
    seal(rig, 4)
    done = publisher(rig, running).publish()
    assert done is not None
    assert done.head.body.size == 30
    turns = [turn for turn, _, _ in kept(rig)]
    assert turns == [0, 1, 2, 3]
    assert len(list(store.read(running.file(running.logs[0])))) == 4
    for _, _, text in kept(rig):
        signed = note.parse(text.encode())
        checkpoint.verify(signed, running.logs[0])
        assert cosignature.cosigned(signed, running.client().key) > 0
        said = peer(Note=text.encode(), Keys=[running.logs[0].to_text(), running.public.key])
        assert said["Signatures"] == 2, said


def test_it_goes_on_from_what_was_cosigned_with_new_records_alone(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    for round_ in range(4):
        seal(rig, 3, restart=round_ == 2)
        done = publisher(rig, running).publish()
        assert done is not None
        assert done.head.body.size == 5 + 3 * (round_ + 1)
    again = publisher(rig, running)
    again.publish()  # a new session asks the witness where it stands
    running.ended(kill=True)
    assert (idle := again.publish()) is not None  # nothing to hand in, so nobody is asked
    assert idle.head.body == done.head.body


def test_the_database_gives_the_leaves_of_the_engine(rig: Rig, running: Running) -> None:
    nasty = "".join(map(chr, range(1, 0x20))) + '"\\/\x7f\x80\u2028😀가'
    details = [{"a": [nasty, None, 3], "b": -1}, {"unfit": 1.5, "A": {}}, {}]
    with rig.session("sensmail-keyd") as session:
        for n, text in enumerate((nasty, "x'", "%s%%", "\\u0041", "")):
            session.execute(
                "INSERT INTO records.inbox (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, "
                "opening, detail) VALUES ('access', 'open', %s, %s, %s, %s, 'p', 'refused', %s, %s, %s)",
                (text, text, [None, uuid4()][n % 2], text, text, [None, 7, 8, None, 9][n], json.dumps(details[n % 3])),
            )
    rig.sealer().seal()
    session = rig.session("sensmail-jobs")
    part = rig.rows("SELECT part FROM records.part WHERE ledger = 'access'")[0][0]
    found = rows.kept(session, "access", part, 0, 100)  # type: ignore[arg-type]
    database = Database(rig.session(ROLE))
    ours = database.ours("access")
    assert ours is not None
    assert len(found.numbers) == 10
    assert next(database.leaves(ours, 0, 10)) == list(map(entry.leaf_of, found.lines, found.salts))
    assert next(database.leaves(ours, 6, 9)) == list(map(entry.leaf_of, found.lines, found.salts))[6:9]


def test_leaves_come_from_several_partitions(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    for _ in range(3):
        rig.now += 31 * 86_400_000_000
        seal(rig, 6, restart=True)
    assert len(rig.rows("SELECT FROM records.part WHERE ledger = 'access'")) == 4
    done = publisher(rig, running).publish()
    assert done is not None
    assert done.head.body.size == 23


def test_its_role_sees_no_record(rig: Rig, running: Running) -> None:
    session = rig.session(ROLE)
    for table in ("access", "governance", "inbox", "part"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f"SELECT * FROM records.{table}")
    for change in ("DELETE FROM records.cosigned", "UPDATE records.cosigned SET turn = 3", "DELETE FROM records.ahead",
                   "UPDATE records.head SET size = 0"):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(change)
    publisher(rig, running).publish()
    with pytest.raises(psycopg.errors.RestrictViolation):
        session.execute("UPDATE records.cosigned SET size = 0")


def test_an_answer_that_was_lost_is_found_again(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    seal(rig, 4, restart=True)
    running.fail("kill")
    with pytest.raises(Away):
        publisher(rig, running).publish()
    running.ended()
    running.start()
    seal(rig, 2, restart=True)
    done = publisher(rig, running).publish()
    assert done is not None
    assert done.head.body.size == 11
    assert [size for _, size, _ in kept(rig)] == [5, 9, 11]


def test_a_witness_that_was_away_catches_up(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    running.ended(kill=True)
    for _ in range(5):
        seal(rig, 2, restart=True)
        with pytest.raises(Away):
            publisher(rig, running).publish()
    running.start()
    publisher(rig, running).publish()
    assert [turn for turn, _, _ in kept(rig)] == [0, 1, 2, 3, 4, 5]


def rolled_back(rig: Rig, to: Path) -> None:
    """The database and the sealer's keys as they were: a snapshot of the whole host."""
    saved = json.loads(to.read_text())
    rig.end_sealers()
    for name, data in saved["files"].items():
        (rig.directory / name).write_bytes(bytes.fromhex(data))
    head = saved["head"]
    disable = "SET session_replication_role = replica"
    rig.tamper(
        "ALTER TABLE records.head DISABLE TRIGGER USER", "ALTER TABLE records.access DISABLE TRIGGER USER",
        "ALTER TABLE records.cosigned DISABLE TRIGGER USER", "ALTER TABLE records.checkpoint DISABLE TRIGGER USER",
        disable,
        *(f"ALTER TABLE {name} DISABLE TRIGGER USER" for (name,) in rig.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'records.access'::regclass")),
        f"DELETE FROM records.access WHERE seq >= {head['size']}",
        f"DELETE FROM records.checkpoint WHERE ledger = 'access' AND turn >= {head['turn']}",
        f"DELETE FROM records.cosigned WHERE size > {head['size']}",
        f"UPDATE records.head SET size = {head['size']}, turn = {head['turn']}, part = {head['part']}, "
        f"sealed = '{head['sealed']}', range = '\\x{head['range']}', note = $n${head['note']}$n$ "
        "WHERE ledger = 'access'",
    )  # fmt: skip


def saved(rig: Rig, path: Path) -> Path:
    query = (
        "SELECT size, turn, part, sealed::text, encode(range, 'hex'), note FROM records.head WHERE ledger = 'access'"
    )
    head = dict(zip(("size", "turn", "part", "sealed", "range", "note"), rig.rows(query)[0], strict=True))
    files = {each.name: each.read_bytes().hex() for each in rig.directory.iterdir() if each.name != "governance.keys"}
    path.write_text(json.dumps({"head": head, "files": files}))
    return path


def test_a_database_that_was_put_back_is_found(rig: Rig, running: Running, tmp_path: Path) -> None:
    publisher(rig, running).publish()
    snapshot = saved(rig, tmp_path / "snapshot")
    seal(rig, 6, restart=True)
    publisher(rig, running).publish()
    rolled_back(rig, snapshot)
    with pytest.raises(WitnessAhead, match="up to size 11, this database ends at 5"):
        publisher(rig, running).publish()
    ((size, text),) = rig.rows("SELECT size, note FROM records.ahead")
    assert size == 11  # what the sealer stops at, and the next generation cites
    checkpoint.verify(note.parse(str(text).encode()), running.logs[0])


def test_a_database_that_was_put_back_and_went_on_is_found(rig: Rig, running: Running, tmp_path: Path) -> None:
    publisher(rig, running).publish()
    snapshot = saved(rig, tmp_path / "snapshot")
    seal(rig, 6, restart=True)
    publisher(rig, running).publish()
    rolled_back(rig, snapshot)
    seal(rig, 30, restart=True)
    with pytest.raises(Forked, match="another access of size 11"):
        publisher(rig, running).publish()
    assert len(rig.rows("SELECT FROM records.ahead")) == 1


def test_records_that_were_changed_before_they_were_cosigned_are_found(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    seal(rig, 6)
    (part,) = rig.rows("SELECT part FROM records.part WHERE ledger = 'access'")[0]
    rig.tamper(
        "ALTER TABLE records.access DISABLE TRIGGER USER",
        f"ALTER TABLE records.access_{part} DISABLE TRIGGER USER",
        "UPDATE records.access SET account = 'x' WHERE seq = 8",
    )
    with pytest.raises(RowsChanged, match="records 5 to 10"):
        publisher(rig, running).publish()
    rig.tamper("DELETE FROM records.access WHERE seq = 8")
    with pytest.raises(RowsChanged, match="there are 5"):
        publisher(rig, running).publish()


def test_a_witness_whose_store_was_put_back_is_found(rig: Rig, running: Running) -> None:
    publisher(rig, running).publish()
    file = running.file(running.logs[0])
    before = file.read_bytes()
    seal(rig, 6)
    publisher(rig, running).publish()
    running.ended(kill=True)
    file.write_bytes(before)
    running.start()
    seal(rig, 1)
    with pytest.raises(WitnessWentBack, match="up to size 11 and now says 5"):
        publisher(rig, running).publish()


def test_a_log_that_the_witness_does_not_watch_is_named(rig: Rig, running: Running) -> None:
    with pytest.raises(LogUnknown, match="sensmail witness logs"):
        Publisher(running.client(), Database(rig.session(ROLE)), "governance").publish()


def test_another_witness_at_its_address_is_not_believed(rig: Rig, running: Running) -> None:
    given = running.settings()
    other = Witness(given.url, given.key, "0" * 64)  # another certificate
    running.client = lambda: service.Client(other)  # type: ignore[method-assign]
    with pytest.raises(Away, match=r"[Ff]ingerprint"):
        publisher(rig, running).publish()


def test_a_cosignature_of_another_key_is_not_kept(rig: Rig, running: Running, tmp_path: Path) -> None:
    other = cosignature.witness_key("witness.example/w1", note.public_bytes(Ed25519PrivateKey.generate()))
    given = running.settings()
    running.client = lambda: service.Client(Witness(given.url, other.to_text(), given.certificate))  # type: ignore[method-assign]
    with pytest.raises(Misbehaves, match="no cosignature of the key we know"):
        publisher(rig, running).publish()
    assert kept(rig) == []


def test_the_service_reports_what_is_in_the_way_and_recovers(rig: Rig, running: Running, tmp_path: Path) -> None:
    settings = Settings([running.settings()], every_seconds=0.1)
    path = tmp_path / "state.json"
    made = service.Service(settings, lambda: rig.session(ROLE), path)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:

        def entry_of(ledger: str) -> state.Entry:
            return next(each for each in state.read(path).entries if each.ledger == ledger)

        def until(what: Any) -> None:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                if path.exists() and what():
                    return
                time.sleep(0.05)
            pytest.fail(path.read_text())

        until(lambda: entry_of("access").size == 5)
        until(lambda: entry_of("governance").trouble == "LogUnknown")
        now = int(rig.now / 1_000_000)
        assert [each for each in state.alarms(state.read(path), settings, now) if "LogUnknown" in each]
        running.ended(kill=True)
        until(lambda: entry_of("access").trouble in {"", "Away"})
        seal(rig, 2)
        until(lambda: entry_of("access").trouble == "Away")
        assert not entry_of("access").alarm  # it passes; once it is stale it is an alarm
        old = entry_of("access").time
        late = state.State(old + 901, state.read(path).entries)
        assert any("minutes old" in each for each in state.alarms(late, settings, old + 901))
        running.start()
        until(lambda: entry_of("access").size == 7 and not entry_of("access").trouble)
    finally:
        made.stop()
        thread.join(20)
    assert any("said nothing" in each for each in state.alarms(state.read(path), settings, 2**31))
