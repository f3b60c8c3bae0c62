"""Export, verify, prune, hold and search as operators and playbooks meet them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensmail import cli
from sensmail.records import export, face
from sensmail.records.errors import RecordsError
from sensmail.records.publisher import settings as publisher
from sensmail.records.search import Asked, person, search
from sensmail.store import Settings

from .rig import Rig
from .test_prune import MONTH_US, policy
from .test_verify import WITNESS_KEY, cosign

__all__ = ["policy"]


@pytest.fixture
def host(rig: Rig, configured: Settings, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Two months, of which one is over; the command's clock and the sealer's are the same."""
    monkeypatch.setattr(export, "SEALED_WITHIN_S", 0.0)
    rig.now = int(datetime.now(UTC).timestamp() * 1e6) - 14 * MONTH_US
    for _ in range(2):
        made = rig.sealer(lambda: rig.now)
        rig.write(3)
        made.seal()
        rig.now += 14 * MONTH_US
    rig.now -= 14 * MONTH_US
    cosign(rig)
    settings = tmp_path / "publisher.toml"
    settings.write_text(f'[[witnesses]]\nurl = "https://witness.example"\nkey = "{WITNESS_KEY.to_text()}"\n')
    monkeypatch.setattr(publisher, "PATH", settings)
    return rig


def test_prune_says_what_it_does(host: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["records", "prune", "--check"]) == 0
    said = capsys.readouterr().out
    assert "(records 0 to 2)" in said
    assert "goes: last sealed" in said
    assert "kept 366 days" in said
    count = host.rows("SELECT count(*) FROM records.access")
    looked = face.act("prune", None, None, [], [], check=True)
    assert looked["changed"]
    assert looked["diff"]["before"].startswith("access/1 1")
    assert host.rows("SELECT count(*) FROM records.access") == count
    done = face.act("prune", None, None, [], [], check=False)
    assert (done["changed"], done["result"]) == (True, looked["result"])
    assert not face.act("prune", None, None, [], [], check=False)["changed"]
    assert host.rows("SELECT min(seq) > 0 FROM records.access") == [(True,)]


def test_without_a_witness_prune_says_why_not(host: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(publisher, "PATH", tmp_path / "none.toml")
    done = face.act("prune", None, None, [], [], check=False)
    assert not done["changed"]
    assert "unwitnessed_deletion" in " ".join(done["lines"])


def test_export_and_verify(host: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.zip"
    assert cli.main(["records", "export", str(path), "--reason", "audit"]) == 0
    assert "6 records of 2 logs" in capsys.readouterr().out
    assert cli.main(["verify", str(path)]) == 3
    assert "NOT ALL PROVEN" in capsys.readouterr().out
    assert cli.main(["records", "export", str(path), "--reason", "audit"]) == 1
    assert "exists" in capsys.readouterr().err
    assert face.act("export", str(path), "audit", [], [], check=True)["changed"]
    assert face.act("verify", str(path), None, [], [], check=False)["failed"]


def test_hold_place_list_release(host: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--reason", "case 1", "--approver", "privacy_officer"]
    assert (
        cli.main(["records", "hold", "place", "--account", "kim0@example.test", "--since", "2025-01-01", *words]) == 0
    )
    assert cli.main(["records", "hold", "list"]) == 0
    said = capsys.readouterr().out
    assert "kim0@example.test 2025-01-01 00:00:00+0900 …" in said
    assert cli.main(["records", "hold", "release", "1", *words]) == 0
    assert cli.main(["records", "hold", "release", "1", *words]) == 1
    assert cli.main(["records", "hold", "place", *words]) == 1


def test_a_search_is_recorded_before_it_shows(host: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    jobs = host.session("sensmail-jobs")
    whom = person(jobs, "kim1@example.test")
    assert (whom.subject, whom.account) == (None, "kim1@example.test")
    found = search(jobs, "access", whom, start, start + timedelta(hours=2), Asked("lee", "complaint 4"))
    assert {each.account for each in found} == {"kim1@example.test"}
    assert len(found) == 2
    assert search(jobs, "access", whom, start - timedelta(days=2), start, Asked("lee", "complaint 4")) == []
    recorded = "SELECT act, account, detail->>'reason' FROM records.inbox WHERE ledger = 'access'"
    assert host.rows(recorded) == [("records.search", "lee", "complaint 4")] * 2
    with pytest.raises(RecordsError, match="a reason"):
        search(jobs, "access", whom, start, start + timedelta(hours=2), Asked("lee", ""))
    given = ["--since", "2025-01-01", "--until", "2100-01-01", "--reason", "x"]
    assert cli.main(["records", "search", "kim1@example.test", *given]) == 0
    assert "+0900" in capsys.readouterr().out
