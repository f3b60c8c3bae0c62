"""After a lawful restore the log goes on as a new one that says what was lost; never silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensmail.records import generation
from sensmail.records.errors import Busy, DatabaseOlder, RecordsError
from sensmail.records.generation import Loss, Order
from sensmail.records.sealer import ROLE, Sealer
from sensmail.records.verify import show
from sensmail.records.verify.whole import Held, verify

from .rig import Rig
from .test_verify import WITNESS_KEY, cosign, head, log

__all__ = ["log"]
TABLES = ("head", "checkpoint", "cosigned", "access", "part")
FREE = [f"ALTER TABLE records.{each} DISABLE TRIGGER USER" for each in TABLES]
BOUND = [f"ALTER TABLE records.{each} ENABLE TRIGGER USER" for each in TABLES]
ORDER = Order("kim", "the disk died", "privacy_officer")


@pytest.fixture
def restored(log: tuple[Rig, Sealer]) -> Rig:
    """A database as it was at 30 records of 37; keys and witness know better."""
    rig, made = log
    rig.tamper(*(f"CREATE TABLE public.old_{each} AS TABLE records.{each}" for each in TABLES))
    rig.write(7)
    made.seal()
    cosign(rig)
    rig.end_sealers()
    rig.tamper(*FREE, *(f"DELETE FROM records.{each}" for each in TABLES))
    rig.tamper(*FREE, *(f"INSERT INTO records.{each} TABLE public.old_{each}" for each in TABLES), *BOUND)
    return rig


def opened(rig: Rig, order: Order = ORDER) -> list[Loss]:
    with rig.session(ROLE) as session:
        return generation.open_next(session, rig.directory, order, lambda: rig.now)


def test_the_next_generation_cites_the_one_before(restored: Rig, tmp_path: Path) -> None:
    rig = restored
    with pytest.raises(DatabaseOlder, match="had reached size 37, the database is at generation 1, size 30"):
        rig.sealer()
    rig.end_sealers()
    rig.write(5)
    assert opened(rig) == [Loss("access", 1, 30, 37)]
    made = rig.sealer()
    cosign(rig)
    columns = "seq, act, detail->>'lost', detail->>'size'"
    query = f"SELECT {columns} FROM records.access WHERE part > 2000000 ORDER BY seq LIMIT 2"
    assert rig.rows(query) == [(0, "records.generation", "7", "37"), (1, "open", None, None)]
    rig.sound()
    rig.export(tmp_path / "bundle.zip", made)
    keys = [rig.log_key("access", 1), rig.log_key("access", 2), rig.log_key("governance")]
    found = verify(tmp_path / "bundle.zip", Held(keys, [WITNESS_KEY]))
    assert [each.code for each in found.all()] == ["generation"], show.text(found)
    assert show.code(found) == 3
    text = show.text(found)
    assert "a restore lost 7 records (last known size 37)" in text
    assert "the disk died" in text
    assert [(each.ledger, each.generation, each.verified) for each in found.logs] == [
        ("access", 1, 30), ("access", 2, 6), ("governance", 1, 1),
    ]  # fmt: skip


def test_what_a_witness_has_seen_stops_the_sealer_and_is_cited(log: tuple[Rig, Sealer]) -> None:
    """The keys were put back with the database; the publisher learns from the witness that there was more."""
    rig, made = log
    rig.write(3)
    made.seal()
    seen = head(rig).to_bytes().decode()
    rig.write(1)
    made.seal()
    with rig.session("sensmail-publisher") as publisher:
        publisher.execute(
            "INSERT INTO records.ahead (ledger, generation, witness, size, note) VALUES ('access', 1, %s, 99, %s)",
            (WITNESS_KEY.to_text(), seen.replace("\n33\n", "\n99\n")),
        )
    with pytest.raises(DatabaseOlder, match=r"witness witness.example.go.kr has cosigned a checkpoint of 99 records"):
        made.seal()
    rig.end_sealers()
    (loss,) = opened(rig)
    assert (loss.held, loss.known, loss.lost) == (34, 99, 65)
    assert loss.root
    rig.sealer().seal()
    rig.sound()


def test_lost_keys_lose_no_record_but_end_the_log(log: tuple[Rig, Sealer]) -> None:
    rig, _ = log
    rig.end_sealers()
    (rig.directory / "access.keys").unlink()
    (loss,) = opened(rig)
    assert (loss.held, loss.known, loss.lost) == (30, 30, 0)
    rig.sealer().seal()
    rig.sound()


def test_it_is_refused_where_nothing_was_lost(log: tuple[Rig, Sealer]) -> None:
    rig, _ = log
    with pytest.raises(Busy, match="the sealer is at work"):
        opened(rig)
    rig.end_sealers()
    with pytest.raises(RecordsError, match="nothing is known to be lost"):
        opened(rig)
    with pytest.raises(RecordsError, match="a reason, an approver"):
        opened(rig, Order("kim", "why", ""))
    assert rig.rows("SELECT count(*) FROM records.log") == [(2,)]


def test_a_generation_that_says_nothing_is_found(
    restored: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = restored
    monkeypatch.setattr(generation, "ACT", "open")
    opened(rig)
    made = rig.sealer()
    rig.export(tmp_path / "bundle.zip", made)
    codes = [each.code for each in verify(tmp_path / "bundle.zip", Held()).all() if each.wrong]
    assert codes == ["generation_unexplained"]
