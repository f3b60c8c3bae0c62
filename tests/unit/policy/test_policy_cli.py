"""`sensmail policy`, the schema file, and what both promise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from sensmail.cli import policy as command
from sensmail.policy import Loaded, page
from sensmail.policy.schema import schema, schema_text


def run(*words: str) -> int:
    """Run `sensmail policy WORDS`."""
    parser = argparse.ArgumentParser(prog="sensmail")
    command.register(parser.add_subparsers(required=True))
    args = parser.parse_args(["policy", *words])
    code: int = args.run(args)
    return code


def test_show_as_text(shipped_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "--file", str(shipped_path), "--subjects", "50000") == 0
    rows = capsys.readouterr().out.splitlines()
    row = next(row for row in rows if "access_log.retention" in row).split()
    assert row == [
        "art.",
        "4.3",
        "access_log.retention",
        "P1Y",
        "P2Y",
        "Safety",
        "measures",
        "notice",
        "art.",
        "8(1)",
        "secondary",
        "P2Y*",
        "art4-3",
    ]
    line = next(n for n, row in enumerate(shipped_path.read_text().splitlines(), 1) if "PIPA-39-8]" in row)
    assert any(row.startswith("Finding: ") and f":{line}: art6: cites PIPA art. 39-8" in row for row in rows)
    assert "unverified" in next(row for row in rows if "malware.update_interval" in row)


def test_show_as_json(shipped_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "--file", str(shipped_path), "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    rule = next(rule for rule in shown["rules"] if rule["path"] == "art4.access_rights.retention")
    assert rule == {
        "clause": "art4-2",
        "path": "art4.access_rights.retention",
        "promise": "P5Y",
        "laws": [["P3Y", "Safety measures notice art. 5(3)", "secondary"]],
        "applied": "P5Y",
        "decided_by": "policy",
    }


def test_check_accepts(shipped_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(shipped_path)) == 0
    assert capsys.readouterr().out.endswith("policy.yml: the policy is accepted.\n")


def test_check_refuses(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "policy.yml"
    bad.write_text(text.replace("region: KR", "region: US"), encoding="utf-8")
    assert run("check", str(bad)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    line = text[: text.index("region: KR")].count("\n") + 1
    assert f"{bad}:{line}: art4-6: art4.physical.region is 'US', outside Korea. Fix: write KR or KRS" in shown.err


def test_page(shipped_path: Path, shipped: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    for lang in ("ko", "en"):
        assert run("page", "--file", str(shipped_path), "--lang", lang) == 0
        assert capsys.readouterr().out == page(shipped, lang)


def test_the_file_is_found(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "PLACES", (tmp_path / "none.yml", Path("inventories/local/group_vars/all/policy.yml")))
    monkeypatch.chdir(root)
    assert run("show") == 0
    monkeypatch.chdir(tmp_path)
    assert run("show") == 1


def test_negative_subjects_are_refused(shipped_path: Path) -> None:
    with pytest.raises(SystemExit):
        run("show", "--file", str(shipped_path), "--subjects", "-1")


def test_the_schema_file_is_in_step(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    now = capsys.readouterr().out
    assert now == schema_text()
    committed = (root / "docs/policy.schema.json").read_text(encoding="utf-8")
    assert committed == now, "run: sensmail policy schema > docs/policy.schema.json"


def test_the_policy_names_its_schema(root: Path, shipped_path: Path, text: str) -> None:
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (shipped_path.parent / first.partition("=")[2]).resolve() == root / "docs/policy.schema.json"


def test_the_schema_judges_as_the_engine_does(text: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    judge = jsonschema.Draft202012Validator(schema())
    data = json.loads(json.dumps(yaml.safe_load(text), default=str))
    assert [error.message for error in judge.iter_errors(data)] == []
    data["policy"]["art4"]["access_log"]["retention"] = "one year"
    data["policy"]["art4"]["physical"]["region"] = "US"
    data["policy"]["art5"]["rigths"] = []
    assert len(list(judge.iter_errors(data))) == 3
