"""A superuser's changes of sealed records are found by recomputing, and the finding says where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sensmail.records import checkpoint, note
from sensmail.records.note import VerifierKey
from unit.records.conftest import Signing
from unit.records.rig import Rig

TABLES = ("access", "access_1202511", "access_1202512", "part", "head", "checkpoint", "cut")
FREE = [f"ALTER TABLE records.{name} DISABLE TRIGGER USER" for name in TABLES]
COPY = (
    "INSERT INTO records.access SELECT part, {}, at, received, sealed, clock, act, account, origin, subject_id, "
    "client, purpose, outcome, unit, opening, detail, salt FROM records.access WHERE seq = {}"
)


@pytest.fixture
def log(rig: Rig) -> Rig:
    """30 records in two months, under four keys; checkpoints at 0, 10, 20 and 30."""
    made = rig.sealer()
    for number in range(3):
        rig.write(10, detail={"count": number})
        made.seal()
        made = rig.sealer()
        if number == 1:
            rig.now += 31 * 86400 * 1_000_000
    rig.sound()
    return rig


CHANGES = {
    "a member": ("UPDATE records.access SET origin = '192.0.2.2' WHERE seq = 14", "records from 10 to 19"),
    "a time": ("UPDATE records.access SET at = at + '1 us' WHERE seq = 3", "records from 0 to 9"),
    "when it was sealed": ("UPDATE records.access SET sealed = sealed + '1 h' WHERE seq = 25", "records from 20 to 29"),
    "the space in a detail": (
        "UPDATE records.access SET detail = '{\"count\": 1}' WHERE seq = 14", "records from 10 to 19",
    ),
    "a salt": ("UPDATE records.access SET salt = substring(sha256('x') for 16) WHERE seq = 0", "records from 0 to 9"),
    "one gone": ("DELETE FROM records.access WHERE seq = 7", "record 7 is gone"),
    "the last gone": ("DELETE FROM records.access WHERE seq = 29", "records from 29 to 29 are gone"),
    "the tail gone": ("DELETE FROM records.access WHERE seq >= 15", "records from 15 to 19 are gone"),
    "all gone": ("DELETE FROM records.access", "records from 0 to 19 are gone"),
    "one put in": (COPY.format("seq + 1", 29), "record 30 is beyond the head"),
    "two swapped": (
        "UPDATE records.access SET seq = 23 - seq + 1000 WHERE seq IN (11, 12);"
        "UPDATE records.access SET seq = seq - 1000 WHERE seq > 900", "records from 10 to 19",
    ),
    "moved to another month": ("UPDATE records.access SET part = 1202512 WHERE seq = 19", "records from 19 to 19"),
    "a month gone": ("DROP TABLE records.access_1202511", "records from 0 to 19 are gone: so is partition 1202511"),
    "the last month gone": ("DROP TABLE records.access_1202512", "records from 20 to 29 are gone"),
    "months swapped": (
        "ALTER TABLE records.access DETACH PARTITION records.access_1202511;"
        "ALTER TABLE records.access DETACH PARTITION records.access_1202512;"
        "UPDATE records.access_1202511 SET part = 1202512;"
        "UPDATE records.access_1202512 SET part = 1202511;"
        "ALTER TABLE records.access ATTACH PARTITION records.access_1202511 FOR VALUES IN (1202512);"
        "ALTER TABLE records.access ATTACH PARTITION records.access_1202512 FOR VALUES IN (1202511)",
        "record 0 is gone",
    ),
    "a month that nobody knows": (
        "CREATE TABLE records.more PARTITION OF records.access FOR VALUES IN (1202601);"
        + COPY.format("30", 29).replace("SELECT part", "SELECT 1202601"), "records.part does not know",
    ),
    "the head put back": (
        "UPDATE records.head SET note = c.note, size = c.size FROM records.checkpoint c "
        "WHERE head.ledger = 'access' AND c.ledger = 'access' AND c.size = 20", "entries are gone or replaced",
    ),
    "a checkpoint gone": (
        "DELETE FROM records.checkpoint WHERE ledger = 'access' AND turn = 1", "not endorsed",
    ),
    "the first checkpoint gone": ("DELETE FROM records.checkpoint WHERE turn = 0 AND ledger = 'access'", "begins with"),
    "a checkpoint changed": (
        "UPDATE records.checkpoint SET note = replace(note, E'\\n10\\n', E'\\n11\\n') "
        "WHERE ledger = 'access'", "verify",
    ),
    "the head gone": ("DELETE FROM records.head WHERE ledger = 'access'", "there is no log"),
    "the range changed": (
        "UPDATE records.head SET range = range || range WHERE ledger = 'access'", "the compact range",
    ),
    "a false cut": (
        "INSERT INTO records.cut (ledger, generation, size, range, opening) "
        "SELECT 'access', 1, 16, sha256('x'), 0", "record",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_found_and_named(log: Rig, what: str) -> None:
    statement, says = CHANGES[what]
    log.tamper(*FREE, *statement.split(";"))
    findings = log.check().findings
    assert len(findings) >= 1
    assert says in " ".join(findings)
    assert log.check("governance").findings == []


def test_with_the_auditors_key_a_log_made_anew_is_found(log: Rig) -> None:
    """A superuser who is root as well can sign everything anew; but not with the key that the auditor holds."""
    key = VerifierKey.from_text(str(log.rows("SELECT log_key FROM records.log WHERE ledger = 'access'")[0][0]))
    assert log.check(log_key=key).findings == []
    assert "the key is for" in log.check(log_key=Signing().log_key).findings[0]


def test_a_thief_of_the_present_keys_cannot_rewrite_what_an_earlier_key_closed(log: Rig) -> None:
    """Changes record 14, and signs every later checkpoint anew with the stable key and the key in use."""
    made = log.sealer()
    stolen, following, stable = made._logs["access"].current, made._logs["access"].following, made._stable
    assert stable is not None
    log.tamper(*FREE, "UPDATE records.access SET act = 'nothing' WHERE seq = 14")
    query = "SELECT note FROM records.checkpoint WHERE ledger = 'access' AND size > 14 ORDER BY turn"
    kept = [checkpoint.parse(note.parse(str(text).encode()).text) for (text,) in log.rows(query)]
    assert kept
    for body in kept:
        with pytest.raises(ValueError, match="not the one"):
            body.sign(stable, stolen.private)
        forged = replace(body, root=b"f" * 32, key=stolen.public, next=following.public).sign(stable, stolen.private)
        log.tamper(
            *FREE,
            f"UPDATE records.checkpoint SET note = '{forged.to_bytes().decode()}' "
            f"WHERE ledger = 'access' AND note LIKE '%key {note.encode64(body.key)}%'",
        )
    assert "not endorsed" in log.check().findings[0]


def test_a_check_reads_in_chunks(log: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensmail.records.check.CHUNK", 3)
    log.sound()
    found = log.check()
    assert (found.first, found.size, found.generation) == (0, 30, 1)


def test_an_empty_log_is_sound_and_a_missing_one_is_named(rig: Rig) -> None:
    assert rig.check().findings == ["there is no log: nothing was ever sealed, or its head was removed"]
    rig.sealer()
    rig.sound()
