"""Module and command on a host in a directory: check mode, diff, refusals, exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sensmail.cloud.plugins.modules import access_right

from sensmail import cli
from sensmail.policy import applied_document, load
from sensmail.rights import face, logins, terms
from sensmail.rights.operator import Operators
from sensmail.store import Settings
from unit.rights.conftest import ADDRESS, APPROVAL, KEY, LATER, TENANT, Site

POLICY = Path(__file__).parents[3] / "inventories/local/group_vars/all/policy.yml"
APPROVED = {"role": APPROVAL.role, "by": APPROVAL.by, "reference": APPROVAL.reference}
KIM: dict[str, Any] = {
    "kind": "operator", "holder": "김운영", "account": "kim", "public_keys": [f"{KEY} kim@home"],
    "until": f"{LATER:%Y-%m-%d}", "reason": "operation", "approval": APPROVED,
}  # fmt: skip
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def here(site: Site, configured: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The made-up host is this one: its files, its processes, its settings."""
    (tmp_path / "policy.json").write_text(json.dumps(applied_document(load(POLICY))))
    (tmp_path / "rights.toml").write_text('host = "mail"\n')
    monkeypatch.setattr(terms, "POLICY", tmp_path / "policy.json")
    monkeypatch.setattr(terms, "SETTINGS", tmp_path / "rights.toml")
    monkeypatch.setattr(face, "Host", lambda name: site.host)
    sessions = site.desk.places["operator"].sessions  # type: ignore[attr-defined]
    monkeypatch.setattr(face, "Operators", lambda host: Operators(host, sessions))
    read = logins.read
    monkeypatch.setattr(logins, "read", lambda accounts: read(accounts, site.host.root))
    (site.host.root / "var/log/lastlog").touch()
    return site


@pytest.fixture
def run(here: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(check: bool = False, **arguments: Any) -> dict[str, Any]:
        options = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(options), pytest.raises(SystemExit):
            access_right.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return call


def test_check_apply_again_and_back(here: Site, run: Run) -> None:
    check, first, again = run(check=True, **KIM), run(**KIM), run(**KIM)
    assert [each["changed"] for each in (check, first, again)] == [True, True, False]
    assert check["diff"] == first["diff"]
    assert first["diff"]["before"] == ""
    assert "holder 김운영\n  ssh-ed25519 SHA256:" in first["diff"]["after"]
    assert first["lines"] == ["granted: operator kim on mail: login"]
    absent = {"kind": "operator", "account": "kim", "state": "absent", "reason": "has left"}
    assert run(check=True, **absent)["diff"]["after"] == ""
    assert here.keys().exists()
    assert run(**absent)["changed"]
    assert not run(**absent)["changed"]
    assert not here.keys().exists()


def test_a_role_of_the_portal_goes_by_address_and_is_kept_by_id(here: Site, run: Run) -> None:
    wanted = KIM | {"kind": "portal", "account": ADDRESS, "right": "tenant_admin", "scope": TENANT}
    del wanted["public_keys"]
    assert run(**wanted)["changed"]
    (line,) = here.desk.register.lines()
    assert line.account == str(here.subject)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "king"}, "kind 'king' is not known; use one of operator"),
        ({"account": "root"}, "account 'root' belongs to a service"),
        ({"holder": "김\n운영"}, "must be one line"),
        ({"until": "2020-01-01"}, "is in the past; give a later day"),
        ({"until": "2099-01-01"}, "lets a right last 365 days"),
        ({"until": None}, "a right has a holder and an end"),
        ({"scope": "other"}, "this is mail; run it on other, or leave scope out"),
        ({"approval": None}, "asks for the approval of privacy_officer, but none was given"),
        ({"approval": APPROVED | {"by": "김운영"}}, "holds the right and cannot approve it"),
        ({"public_keys": ["ssh-rsa AAAA"]}, "is no public SSH key"),
        ({"kind": "portal", "account": ADDRESS, "right": "tenant_admin"}, "is for a tenant; name it"),
        ({"reason": " "}, "reason ' ' must be one line"),
    ],
)
def test_refusals_say_what_and_what_to_do(here: Site, run: Run, changes: dict[str, Any], words: str) -> None:
    for check in (True, False):
        refused = run(check=check, **{key: value for key, value in (KIM | changes).items() if value is not None})
        assert refused["failed"]
        assert words in refused["msg"]
    assert here.acts() == []


def test_exit_status_and_output_of_the_command(here: Site, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(**KIM)
    assert cli.main(["rights", "reconcile"]) == 0
    assert cli.main(["rights", "dormant"]) == 0
    assert cli.main(["rights", "list"]) == 0
    assert cli.main(["rights", "show", "kim"]) == 0
    assert "김운영" in capsys.readouterr().out
    assert cli.main(["rights", "show", "nobody"]) == 1
    assert "no row is about 'nobody'" in capsys.readouterr().err
    here.host.change("useradd", "mallory")
    assert cli.main(["rights", "reconcile", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["what"] == "unrecorded"
    assert cli.main(["rights", "keep"]) == 1
    capsys.readouterr()
    assert cli.main(["rights", "export"]) == 0
    assert capsys.readouterr().out.count("\r\n") == 2


def test_a_host_without_the_role_says_what_to_run(
    here: Site, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(terms, "SETTINGS", tmp_path / "none.toml")
    assert "role rights writes it: run site.yml" in run(**KIM)["msg"]
    monkeypatch.setattr(terms, "SETTINGS", tmp_path / "rights.toml")
    (tmp_path / "rights.toml").write_text('host = "mail"\n[[declared]]\naccount = "x"\n')
    assert "reason" in run(**KIM)["msg"]
    (tmp_path / "rights.toml").write_text('host = "mail"\n')
    (tmp_path / "policy.json").write_text("{}")
    assert "role policy writes it: run site.yml" in run(**KIM)["msg"]
