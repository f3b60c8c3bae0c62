"""Modules `account` and `migrations`: check mode, diff, secrets, and a database that is not there yet."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sensmail.cloud.plugins.module_utils import engine
from ansible_collections.sensmail.cloud.plugins.modules import account, migrations

from sensmail import accounts
from sensmail.rotation.errors import told
from sensmail.store import Connection, Settings, settings

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


PERSONAL = {"name": "민원 담당자", "emergency_email": "hong@elsewhere.test", "position": "과장", "employee_number": "7"}


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module writes to the journal of the host."""
    written: list[str] = []

    def log(self: AnsibleModule, msg: str, log_args: dict[str, str] | None = None) -> None:
        written.append(f"{msg} {log_args}")

    monkeypatch.setattr(AnsibleModule, "log", log)
    return written


def with_items(**changes: Any) -> dict[str, Any]:
    return WANTED | {"accounts": [WANTED["accounts"][0] | PERSONAL | changes]}


def test_personal_items_reach_no_result_and_no_journal(configured: Settings, run: Runner, journal: list[str]) -> None:
    answers = [run(account, with_items(), check=True), run(account, with_items()), run(account, with_items())]
    assert [answer["changed"] for answer in answers] == [True, True, False]
    assert answers[0]["diff"] == answers[1]["diff"]
    assert "mailbox hong@example.kr: employee_number sealed\n" in answers[1]["diff"]["after"]
    told = json.dumps(answers, ensure_ascii=False) + "".join(journal)
    assert journal
    assert [value for value in (SECRET, *PERSONAL.values()) if value != "7" and value in told] == []
    assert answers[1]["invocation"]["module_args"]["accounts"][0]["employee_number"] == "hidden"
    assert answers[1]["invocation"]["module_args"]["accounts"][0]["address"] == "hong@example.kr"


@pytest.mark.parametrize(
    "change", [{"state": "here"}, {"emergency_email": "hong at elsewhere"}, {"quota": "big"}, {"position": "과\n장"}]
)
def test_a_refusal_repeats_no_personal_item(
    configured: Settings, run: Runner, journal: list[str], change: dict[str, Any]
) -> None:
    refused = run(account, with_items(**change))
    assert refused["failed"]
    told = json.dumps(refused, ensure_ascii=False) + "".join(journal)
    items = PERSONAL | {key: value for key, value in change.items() if key in PERSONAL}
    assert [value for value in items.values() if value != "7" and value in told] == []


def test_a_short_item_does_not_spoil_what_is_returned(configured: Settings, run: Runner) -> None:
    devices = [{"label": f"device {number}"} for number in range(20)]
    answer = run(account, with_items(employee_number="7", app_passwords=devices))
    assert len(answer["issued"]) == 20
    assert "*" not in json.dumps(answer["issued"])


@pytest.mark.usefixtures("nothing_listens")
def test_without_the_key_service(configured: Settings, run: Runner) -> None:
    assert run(account, with_items(), check=True)["changed"]
    refused = run(account, with_items())
    assert refused["failed"]
    assert "is sensmail-keyd.service running" in refused["msg"]


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
    monkeypatch.setattr(engine, "IMPORT_ERROR", "No module named 'sensmail'")
    for module in (account, migrations):
        failed = run(module, {})
        assert failed["failed"]
        assert "sensmail" in failed["msg"]


def test_what_the_database_refuses_is_told_without_the_row(
    configured: Settings, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL shows the whole row in the details of an error."""

    def refused(connection: Connection, *_: object, **__: object) -> None:
        connection.execute("CREATE TEMPORARY TABLE t (secret text, n int CHECK (n > 0))")
        connection.execute("INSERT INTO t VALUES (%s, 0)", (SECRET,))

    monkeypatch.setattr(accounts, "ensure", refused)
    answer = run(account, {})
    assert answer["failed"]
    assert answer["msg"] == 'account: new row for relation "t" violates check constraint "t_n_check"'
    assert SECRET not in json.dumps(answer)


def test_an_error_without_words_of_the_server_is_told_by_its_first_line() -> None:
    assert told(psycopg.OperationalError("gone\nDETAIL: row")) == "gone"
    assert told(psycopg.OperationalError()) == "OperationalError"
