"""Modules `field_encryption` and `key_rotation` and the command `sensmail fields`: check mode, diff, no value shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sensmail.cloud.plugins.module_utils import engine
from ansible_collections.sensmail.cloud.plugins.modules import field_encryption, key_rotation
from tests.unit.keyd.conftest import Site
from tests.unit.rotation.conftest import People, document

from sensmail.cli import main
from sensmail.keyd import policy
from sensmail.keyd.client import KeyService
from sensmail.rotation import passes
from sensmail.store import SUPERUSER, Settings, settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "START_PATIENCE_S", 0.2)


@pytest.fixture(autouse=True)
def host(configured: Settings, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Modules and commands find this test's database, policy and key service."""
    made = document()
    made["data_map"] = [
        column | {"table": "public.people", "column": name, "subject": "subject"}
        for column, name in zip(made["data_map"], ("phone", "note"), strict=False)
    ]
    site.policy(made)
    (tmp_path / "policy.json").write_text(json.dumps(made))
    monkeypatch.setattr(policy, "PATH", tmp_path / "policy.json")
    given = KeyService.__init__
    monkeypatch.setattr(KeyService, "__init__", lambda self, socket=site.socket, timeout_s=30.0: given(self, socket))
    return made


@pytest.fixture
def own(people: People) -> People:
    """The table belongs to the engine, as those of its migrations do."""
    people.make(40)
    people.admin.execute('GRANT SELECT, UPDATE ON people TO "sensmail-jobs"')
    return people


def run(capsys: pytest.CaptureFixture[str], module: Any, arguments: dict[str, Any], *, check: bool = False) -> Any:
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        pytest.raises(SystemExit),
    ):
        module.main()
    out, err = capsys.readouterr()
    assert "010-" not in out + err
    return json.loads(out)


def task(login: str = SUPERUSER) -> dict[str, Any]:
    column = {"table": "people", "subject": "subject", "login_role": login}
    return {"columns": [column | {"column": "phone", "field": 20}, column | {"column": "note", "field": 21}]}


def test_field_encryption(own: People, capsys: pytest.CaptureFixture[str]) -> None:
    check = run(capsys, field_encryption, task(), check=True)
    assert check["changed"]
    assert [each["in_clear"] for each in check["columns"]] == [40, 40]
    assert all(row[2].startswith("010-") for row in own.rows())
    first, again = run(capsys, field_encryption, task()), run(capsys, field_encryption, task())
    assert [first["changed"], again["changed"]] == [True, False]
    assert check["diff"] == first["diff"]
    assert "people.phone: 40 values in clear" in first["diff"]["before"]
    assert "people.phone: 0 values in clear" in first["diff"]["after"]
    assert again["diff"] == {"before": "", "after": ""}
    assert first["columns"][0]["census"]["active"] == 40
    assert first["columns"][0]["protected_from"] == again["columns"][0]["protected_from"] != ""
    assert not run(capsys, field_encryption, task(), check=True)["changed"]


def test_a_login_without_the_right_to_guard_is_told(own: People, capsys: pytest.CaptureFixture[str]) -> None:
    failed = run(capsys, field_encryption, {})
    assert failed["failed"]
    assert "must be owner of table people; ALTER TABLE" in failed["msg"]
    assert "needs a login role with the right to" in failed["msg"]
    assert len(own.opened()) == 40  # sealed all the same
    done = run(capsys, field_encryption, task())
    assert done["changed"]


def test_key_rotation(own: People, capsys: pytest.CaptureFixture[str], keys: KeyService) -> None:
    run(capsys, field_encryption, task())
    for action in ("reseal", "roll"):
        assert run(capsys, key_rotation, {"action": action}, check=True)["changed"]
    assert (keys.status().counts["restore_only"], keys.status().epoch) == (0, 1)
    due = run(capsys, key_rotation, {"action": "due"}, check=True)
    assert not due["changed"]
    assert due["lines"][0].startswith("reseal: not due before")
    rolled = run(capsys, key_rotation, {"action": "roll"})
    assert rolled["result"] == {"epoch": 2}
    approval = {"role": "ceo", "by": "Kim", "reference": "1"}
    for action in ("root", "destroy_replaced"):
        for check in (True, False):
            refused = run(capsys, key_rotation, {"action": action, "approval": approval}, check=check)
            assert refused["failed"]
            assert "the policy asks for the approval of privacy_officer, but 'ceo' approved" in refused["msg"]


def test_without_key_service(own: People, capsys: pytest.CaptureFixture[str], site: Site) -> None:
    site.stop()
    assert run(capsys, field_encryption, task(), check=True)["columns"][0]["in_clear"] == 40
    failed = run(capsys, field_encryption, task())
    assert failed["failed"]
    assert "is sensmail-keyd.service running" in failed["msg"]
    assert all(row[2].startswith("010-") for row in own.rows())


def test_without_database(capsys: pytest.CaptureFixture[str]) -> None:
    settings.SETTINGS_PATH.write_text('[database]\nhost = "/nonexistent"\n')
    for module, arguments in ((field_encryption, {}), (key_rotation, {"action": "due"})):
        assert run(capsys, module, arguments, check=True)["changed"]
        failed = run(capsys, module, arguments)
        assert "no session on database" in failed["msg"]


def test_without_policy_and_without_the_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATH", Path("/nonexistent"))
    for module, arguments in ((field_encryption, {}), (key_rotation, {"action": "due"})):
        assert "run site.yml" in run(capsys, module, arguments)["msg"]
    monkeypatch.setattr(engine, "IMPORT_ERROR", "No module named 'sensmail'")
    for module, arguments in ((field_encryption, {}), (key_rotation, {"action": "due"})):
        assert "sensmail" in run(capsys, module, arguments)["msg"]


def test_command(own: People, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "protect", "--check"]) == 0
    assert "public.people.phone: 40 in clear, not protected yet" in capsys.readouterr().out
    assert main(["fields", "census"]) == 1
    assert "public.people.note: 40 plaintext" in capsys.readouterr().out
    own.admin.execute('ALTER TABLE people OWNER TO "sensmail-jobs"')
    assert main(["fields", "protect", "--no-rewrite"]) == 0
    out = capsys.readouterr().out
    assert "phase=seal rows=40/40 rate=" in out
    assert "public.people.phone: 40 sealed, not protected yet" in out
    assert main(["fields", "census"]) == 0
    assert "public.people.note: 40 active" in capsys.readouterr().out
