"""Attacks with more than a superuser's rights: stolen keys, a log begun anew, an old backup put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sensmail.records import checkpoint, note, sealer
from sensmail.records.entry import leaf_of
from sensmail.records.note import Note
from sensmail.records.rows import kept
from sensmail.records.sealer import Sealer
from sensmail.records.tree import Range
from sensmail.records.verify import show
from sensmail.records.verify.result import Result
from sensmail.records.verify.whole import verify

from .rig import Rig
from .test_check import FREE
from .test_verify import cosign, english, given, head, log

__all__ = ["log"]
COSIGNED_FREE = "ALTER TABLE records.cosigned DISABLE TRIGGER USER"


def rewritten(rig: Rig, first: int = 0) -> dict[int, bytes]:
    """The roots that the present rows give, by size."""
    roots, grown = {0: Range().root()}, Range()
    session = rig.session("sensmail-jobs")
    for (part,) in rig.rows("SELECT part FROM records.part WHERE ledger = 'access' ORDER BY part"):
        found = kept(session, "access", int(str(part)), first, 10_000)
        for line, salt in zip(found.lines, found.salts, strict=True):
            grown.append(leaf_of(line, salt))
            roots[grown.size] = grown.root()
    return roots


def exported(rig: Rig, path: Path, *, witness: bool = False, checkpoints: tuple[Note, ...] = ()) -> Result:
    rig.export(path)
    return verify(path, given(rig, witness=witness, checkpoints=checkpoints))


def codes(found: Result) -> set[str]:
    return {each.code for each in found.all()} - {"export_unsealed"}


def forge(rig: Rig, made: Sealer, sizes: list[int]) -> None:
    """Sign anew what was changed, with the stable key and the evolving key in use, from those sizes on."""
    stolen, stable = made._logs["access"].current, made._stable
    following = made._logs["access"].following
    assert stable is not None
    roots = rewritten(rig)
    query = " UNION ALL ".join(
        f"SELECT turn, size, note FROM records.{table} WHERE ledger = 'access'" for table in ("checkpoint", "head")
    )
    for turn, size, text in rig.rows(query):
        if size not in sizes:
            continue
        body = checkpoint.parse(note.parse(str(text).encode()).text)
        body = replace(body, root=roots[int(str(size))], key=stolen.public, next=following.public)
        forged = body.sign(stable, stolen.private).to_bytes().decode()
        for table in ("checkpoint", "head"):
            where = f"ledger = 'access' AND turn = {turn} AND size = {size}"
            rig.tamper(*FREE, f"UPDATE records.{table} SET note = '{forged}' WHERE {where}")


def test_with_todays_keys_stolen_rewriting_yesterday_is_found(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, made = log
    rig.tamper(
        *FREE, "UPDATE records.access SET act = 'nothing' WHERE seq = 14", COSIGNED_FREE, "DELETE FROM records.cosigned"
    )
    forge(rig, made, [20, 30])
    found = exported(rig, tmp_path / "bundle.zip")
    assert codes(found) == {"chain", "uncovered", "stopped"}
    assert "1 hold, the last at size 10" in english(found)
    assert "not endorsed" in english(found)


def test_rewriting_within_the_life_of_the_stolen_key_is_found_with_a_witness(
    log: tuple[Rig, Sealer], tmp_path: Path
) -> None:
    """The key in use signs the last ten records anew: without a witness nobody could tell."""
    rig, made = log
    rig.write(10)
    made.seal()
    seen = head(rig)
    cosign(rig)
    rig.tamper(*FREE, "UPDATE records.access SET act = 'nothing' WHERE seq = 34")
    forge(rig, made, [40])
    found = exported(rig, tmp_path / "1.zip", witness=True)
    assert show.code(found) == 1
    assert "chain" in codes(found)
    assert "entries are gone or replaced" in english(found)
    rig.tamper(COSIGNED_FREE, "DELETE FROM records.cosigned WHERE size > 30")
    found = exported(rig, tmp_path / "2.zip", checkpoints=(seen,))
    assert codes(found) == {"fork"}
    assert "a checkpoint at size 40" in english(found)
    rig.now += 3 * 3_600_000_000
    assert "witness_silent" in codes(exported(rig, tmp_path / "3.zip", witness=True))
    rig.now -= 3 * 3_600_000_000
    assert codes(exported(rig, tmp_path / "4.zip")) == set()  # what a log alone cannot show: decision 0008


def test_signed_with_another_key_is_found(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    """Everything made anew by somebody who is root and has the database: another stable key, another first key."""
    rig, _ = log
    held = given(rig, witness=True)
    rig.tamper(
        *FREE, COSIGNED_FREE, "ALTER TABLE records.log DISABLE TRIGGER USER", "DELETE FROM records.cosigned",
        "DELETE FROM records.head", "DELETE FROM records.checkpoint", "DELETE FROM records.part",
        "DELETE FROM records.access", "DROP TABLE records.access_1202511, records.access_1202512",
        "DROP TABLE records.governance_1202511, records.governance_1202512", "DELETE FROM records.log",
    )  # fmt: skip
    for file in rig.directory.iterdir():
        file.unlink()
    made = rig.sealer()
    rig.write(30)
    made.seal()
    rig.export(tmp_path / "bundle.zip", made)
    found = verify(tmp_path / "bundle.zip", held)
    assert {each.code for each in found.findings} == {"log_missing"}
    assert "was made with another key" in english(found)
    assert show.code(found) == 1


def test_an_old_backup_put_back_is_found(
    log: tuple[Rig, Sealer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Database and keys as they were at 30 records, and sealing goes on: the witness's word or silence shows it."""
    rig, made = log
    names = ("head", "checkpoint", "cosigned", "access", "part")
    rig.tamper(*(f"CREATE TABLE public.old_{each} AS TABLE records.{each}" for each in names))
    keys = {each: each.read_bytes() for each in rig.directory.iterdir()}
    for _ in range(2):
        rig.write(5)
        made.seal()
        cosign(rig)
        made = rig.sealer()
    seen = head(rig)
    free = [f"ALTER TABLE records.{each} DISABLE TRIGGER USER" for each in names]
    rig.end_sealers()
    rig.tamper(*free, *(f"DELETE FROM records.{each}" for each in names))
    rig.tamper(*free, *(f"INSERT INTO records.{each} TABLE public.old_{each}" for each in names))
    for file, data in keys.items():
        file.write_bytes(data)
    found = exported(rig, tmp_path / "1.zip", checkpoints=(seen,))
    assert codes(found) == {"behind"}
    assert "records 30 to 39 are missing" in english(found)
    made = rig.sealer()
    rig.write(20)
    made.seal()
    rig.now += 2 * 3_600_000_000
    monkeypatch.setattr(sealer, "IDLE_S", 0.0)
    made.seal()
    assert codes(exported(rig, tmp_path / "2.zip", witness=True)) >= {"witness_silent"}
    assert codes(exported(rig, tmp_path / "3.zip", checkpoints=(seen,))) == {"fork"}


def test_what_a_witness_has_shown_goes_into_the_bundle(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, made = log
    rig.write(3)
    made.seal()
    ahead = head(rig).to_bytes().decode()
    rig.tamper(*FREE, "DELETE FROM records.access WHERE seq >= 30")
    back = rig.rows("SELECT note FROM records.cosigned WHERE ledger = 'access' ORDER BY turn DESC")[0][0]
    rig.tamper(*FREE, f"UPDATE records.head SET size = 30, note = '{back}' WHERE ledger = 'access'")
    with rig.session("sensmail-publisher") as publisher:
        publisher.execute(
            "INSERT INTO records.ahead (ledger, generation, witness, size, note) VALUES ('access', 1, 'w', 33, %s)",
            (ahead,),
        )
    found = exported(rig, tmp_path / "bundle.zip")
    assert codes(found) == {"behind"}
    assert "records 30 to 32 are missing" in english(found)


def test_sealing_that_stopped_is_found(log: tuple[Rig, Sealer], tmp_path: Path) -> None:
    rig, _ = log
    rig.now += 3_600_000_000
    assert codes(exported(rig, tmp_path / "bundle.zip")) == {"stopped"}
