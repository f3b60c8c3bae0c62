"""Modules `account` and `migrations`: check mode, diff, secrets, and a database that is not there yet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sensmail.cloud.plugins.modules import account, migrations

from sensmail.store import Settings, settings

SECRET = "correct horse battery 1"
WANTED: dict[str, Any] = {
    "tenants": [{"name": "t", "domains": ["example.kr"]}],
    "accounts": [{"address": "hong@example.kr", "password": SECRET, "app_passwords": [{"label": "phone"}]}],
    "aliases": [{"address": "info@example.kr", "targets": ["hong@example.kr"]}],
}


class Runner:
    """Runs a module in this process as Ansible would, and reads its answer."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, module: Any, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        """The module's answer."""
        options = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return answer


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


def test_check_apply_again(configured: Settings, run: Runner) -> None:
    check = run(account, WANTED, check=True)
    first = run(account, WANTED)
    again = run(account, WANTED)
    assert [answer["changed"] for answer in (check, first, again)] == [True, True, False]
    assert check["diff"] == first["diff"]
    assert check["issued"] == again["issued"] == []
    assert again["diff"] == {"before": "", "after": ""}
    (issued,) = first["issued"]
    assert (issued["address"], issued["label"]) == ("hong@example.kr", "phone")
    assert issued["password"].startswith(issued["selector"] + "-")
    assert issued["password"] not in json.dumps(first["diff"])


def test_account_password_is_never_repeated(configured: Settings, run: Runner) -> None:
    answer = run(account, WANTED)
    assert SECRET not in json.dumps(answer)
    short = {"accounts": [{"address": "kim@example.kr", "password": "short-1"}]}
    refused = run(account, short)
    assert refused["failed"]
    assert "account: the password of kim@example.kr has 7 characters" in refused["msg"]
    assert "short-1" not in json.dumps(refused)


def test_refusal_names_the_value(configured: Settings, run: Runner) -> None:
    refused = run(account, {"accounts": [{"address": "a+b@example.kr"}]})
    assert refused["failed"]
    assert "account: address 'a+b@example.kr'" in refused["msg"]


def test_database_that_is_not_there_yet(configured: Settings, run: Runner) -> None:
    settings.SETTINGS_PATH.write_text('[database]\nhost = "/nonexistent"\n')
    for module, arguments in ((account, WANTED), (migrations, {})):
        assert run(module, arguments, check=True)["changed"]
        failed = run(module, arguments)
        assert failed["failed"]
        assert "no session on database" in failed["msg"]


def test_migrations(configured: Settings, run: Runner) -> None:
    assert run(migrations, {}) == {"changed": False, "diff": {"after": "", "before": ""}, "steps": []} | {
        "invocation": {"module_args": {}}
    }
    text = settings.SETTINGS_PATH.read_text().replace(configured.name, "made_by_module")
    settings.SETTINGS_PATH.write_text(text)
    check, first, again = run(migrations, {}, check=True), run(migrations, {}), run(migrations, {})
    assert check["steps"][0] == first["steps"][0] == "create database made_by_module"
    assert first["steps"][-1] == check["steps"][-1]
    assert [answer["changed"] for answer in (check, first, again)] == [True, True, False]


def test_without_the_engine(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (account, migrations):
        monkeypatch.setattr(module, "IMPORT_ERROR", "No module named 'sensmail'")
        failed = run(module, {})
        assert failed["failed"]
        assert "sensmail" in failed["msg"]
