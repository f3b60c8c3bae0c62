"""A bundle, verified without the database: sound where nothing was touched, and every change found, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensmail.records import cosignature, note
from sensmail.records.errors import RecordsError
from sensmail.records.export import Asked, export
from sensmail.records.note import Note
from sensmail.records.sealer import Sealer
from sensmail.records.verify import show
from sensmail.records.verify.result import Result
from sensmail.records.verify.whole import Held, verify

from .conftest import Signing
from .rig import Rig
from .test_check import CHANGES, FREE

WITNESS = Ed25519PrivateKey.generate()
WITNESS_KEY = cosignature.witness_key("witness.example.go.kr", note.public_bytes(WITNESS))


def cosign(rig: Rig, at: int | None = None) -> None:
    """What the publisher leaves: the newest checkpoint of each log, cosigned."""
    for ledger, generation, turn, size, text in rig.rows(
        "SELECT ledger::text, generation, turn, size, note FROM records.head"
    ):
        when = at or rig.now // 1_000_000
        made = note.parse(str(text).encode())
        line = cosignature.cosign(made.text, WITNESS_KEY.name, WITNESS, when)
        signed = Note(made.text, (*made.signatures, line)).to_bytes().decode()
        with rig.session("sensmail-publisher") as publisher:
            publisher.execute(
                "INSERT INTO records.cosigned SELECT %s, %s, %s, %s, %s, %s, %s, range, %s FROM records.head "
                "WHERE ledger = %s ON CONFLICT (ledger, generation, witness, turn) DO UPDATE SET size = excluded.size, "
                "time = excluded.time, at = excluded.at, range = excluded.range, note = excluded.note",
                (ledger, generation, WITNESS_KEY.to_text(), turn, size, when, when, signed, ledger),
            )  # fmt: skip


def given(rig: Rig, *, witness: bool = False, checkpoints: tuple[Note, ...] = ()) -> Held:
    keys = [rig.log_key(ledger) for ledger in ("access", "governance")]
    return Held(keys, [WITNESS_KEY] if witness else [], checkpoints)


def head(rig: Rig, ledger: str = "access") -> Note:
    return note.parse(str(rig.rows("SELECT note FROM records.head WHERE ledger = %s", ledger)[0][0]).encode())


def english(result: Result) -> str:
    return " | ".join(
        each["en"] for log in [*show.document(result)["logs"], show.document(result)] for each in log["findings"]
    )


@pytest.fixture
def log(rig: Rig) -> tuple[Rig, Sealer]:
    """30 records in two months, under four keys; the last checkpoint of each key, at 0, 10, 20 and 30, is cosigned."""
    made = rig.sealer()
    for number in range(3):
        rig.write(10, detail={"count": number})
        made.seal()
        cosign(rig)
        made = rig.sealer()
        if number == 1:
            rig.now += 31 * 86400 * 1_000_000
    cosign(rig)
    return rig, made


def test_what_nobody_touched_is_verified(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, sealer = log
    done = rig.export(tmp_path / "bundle.zip", sealer)
    assert (done.number, done.records, done.logs) == (0, 31, 2)
    assert done.path.stat().st_mode & 0o777 == 0o600
    bars: list[tuple[int, int]] = []
    found = verify(done.path, given(rig, witness=True), lambda *each: bars.append(each))
    assert found.all() == []
    assert show.code(found) == 0
    access, governance = found.logs
    assert (access.first, access.verified, access.stated, access.checkpoints, access.keys) == (0, 30, 30, 4, 4)
    assert access.cosignatures == {"witness.example.go.kr": 4}
    assert access.complete == rig.now // 1_000_000
    assert (governance.verified, governance.keys) == (1, 4)
    assert bars[-1][0] == bars[-1][1] > 0
    text = show.text(found)
    assert "complete as of 2025-12-26 12:06:40+09:00" in text
    assert "VERIFIED" in text


def test_the_export_is_recorded_before_it_is_written(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, sealer = log
    (tmp_path / "bundle.zip").write_text("mine")
    with pytest.raises(RecordsError, match="exists"):
        rig.export(tmp_path / "bundle.zip", sealer)
    with pytest.raises(OSError, match="No such file"):
        rig.export(tmp_path / "nowhere" / "bundle.zip", sealer)
    with pytest.raises(RecordsError, match="a reason"):
        export(rig.session("sensmail-jobs"), tmp_path / "other.zip", Asked("kim", " "))
    query = "SELECT act, account, detail->>'reason' FROM records.governance ORDER BY seq"
    assert rig.rows(query) == [("records.export", "kim", "yearly audit")]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bundle.zip", "keys"]


def test_the_same_ledgers_make_the_same_file(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = log
    first, second = rig.export(tmp_path / "1.zip"), rig.export(tmp_path / "2.zip")
    assert first.path.read_bytes() == second.path.read_bytes()


def test_an_export_that_no_sealer_took_is_not_all_proven(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = log
    done = rig.export(tmp_path / "bundle.zip")
    found = verify(done.path, given(rig))
    assert [each.code for each in found.all()] == ["export_unsealed"]
    assert show.code(found) == 3


def test_without_a_key_nothing_is_proven(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, sealer = log
    path = rig.export(tmp_path / "bundle.zip", sealer).path
    found = verify(path, Held())
    assert [each.code for each in found.all()] == ["key_not_given", "key_not_given"]
    assert "the log's own word" in show.text(found)
    other = Held([Signing().log_key], [])
    assert "log_missing" in [each.code for each in verify(path, other).findings]
    assert show.code(verify(path, other)) == 1


SAYS = {
    "a member": "records 10 to 19 (partition 1202511",
    "a time": "records 0 to 9 (partition 1202511",
    "when it was sealed": "records 20 to 29 (partition 1202512, sealed from 2025-11-25",
    "the space in a detail": "record 14 (partition 1202511) cannot be read",
    "a salt": "records 0 to 9 (",
    "one gone": "records 7 to 7 are gone (partition 1202511)",
    "the last gone": "records 29 to 29 are gone",
    "the tail gone": "records 15 to 29 are gone (partition 1202511)",
    "all gone": "records 0 to 29 are gone",
    "one put in": "records from 30 on are covered by no checkpoint",
    "two swapped": "records 10 to 19 (",
    "moved to another month": "record 19 lies in the wrong partition (1202512)",
    "a month gone": "records 0 to 19 are gone (partition 1202511)",
    "the last month gone": "records 20 to 29 are gone (partition 1202512)",
    "months swapped": "records 0 to 19 are gone",
    "a month that nobody knows": "wrong partition",
    "the head put back": "",
    "a checkpoint gone": "not endorsed",
    "the first checkpoint gone": "begins with",
    "a checkpoint changed": "does not verify",
    "a false cut": "the cut at 16",
}


@pytest.mark.parametrize("what", [what for what in CHANGES if what not in {"the head gone", "the range changed"}])
def test_every_change_by_a_superuser_is_found_and_named(log: tuple[Rig, Sealer], tmp_path: Path, what: str) -> None:
    rig, _ = log
    rig.tamper(*FREE, *CHANGES[what][0].split(";"))
    witnessed = "checkpoint" not in what
    if not witnessed:  # else the cosigned one is as good
        rig.tamper("ALTER TABLE records.cosigned DISABLE TRIGGER USER", "DELETE FROM records.cosigned")
    done = rig.export(tmp_path / "bundle.zip")
    found = verify(done.path, given(rig, witness=witnessed))
    assert show.code(found) == 1, show.text(found)
    assert SAYS[what] in english(found)
    assert [each.code for each in found.logs[1].findings] == ["export_unsealed"]
