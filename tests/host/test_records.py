"""The sealer on the host: it runs in its sandbox, seals within a second, and alone reaches its keys."""

from __future__ import annotations

import json
import re
import time

import pytest
from testinfra.host import Host

from host.test_database import query

SERVICE, KEYS = "sensmail-sealer.service", "/var/lib/sensmail-sealer"
INSERT = (
    "INSERT INTO records.inbox (ledger, act, account, origin, client, purpose, outcome, unit, detail) "
    "VALUES ('access', 'test', '{}', '', '', '', 'done', '', '{{}}')"
)


def test_it_runs_and_is_confined(host: Host) -> None:
    assert host.service(SERVICE).is_running
    assert host.service(SERVICE).is_enabled
    exposure = host.check_output(f"systemd-analyze security --no-pager {SERVICE} | tail -1")
    found = re.search(r"([0-9.]+) (OK|SAFE|MEDIUM|EXPOSED|UNSAFE)", exposure)
    assert found, exposure
    assert float(found[1]) <= 2.0


def test_its_keys_are_its_own(host: Host) -> None:
    directory = host.file(KEYS)
    assert (directory.user, directory.group, directory.mode) == ("sensmail-sealer", "sensmail-sealer", 0o700)
    assert host.check_output("find %s ! -user sensmail-sealer -o -type f -perm /077", KEYS) == ""
    assert sorted(host.check_output("ls %s", KEYS).split()) == ["access.keys", "governance.keys", "log.key"]


def test_a_record_is_sealed_within_seconds(host: Host) -> None:
    name = f"host-test-{time.time_ns()}"
    assert query(host, "sensmail-jobs", INSERT.format(name))[0] == 0
    for _ in range(50):
        found = query(host, "sensmail-jobs", f"SELECT seq FROM records.access WHERE account = '{name}'")
        if found[1]:
            break
        time.sleep(0.1)
    assert found[1].isdigit()
    assert query(host, "postgres", f"SELECT count(*) FROM records.inbox WHERE account = '{name}'") == (0, "0")
    shown = host.check_output("sensmail records show %s", found[1])
    assert name in shown
    assert "접속기록" in shown


@pytest.mark.parametrize("ledger", ["access", "governance"])
def test_what_is_there_is_what_was_signed(host: Host, ledger: str) -> None:
    done = host.run(f"sensmail records check --ledger {ledger}")
    assert done.rc == 0, done.stdout
    assert "0 findings" in done.stdout


def test_the_status_shows_the_verifier_keys(host: Host) -> None:
    done = host.run("sensmail records status")
    assert done.rc == 0, done.stderr
    keys = re.findall(r"\S+/records/(?:access|governance)/1/[0-9a-f]{32}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}", done.stdout)
    assert len(keys) == 2


def test_a_killed_sealer_comes_back_with_the_next_key(host: Host) -> None:
    turn = "SELECT turn FROM records.head WHERE ledger = 'access'"
    before = int(query(host, "postgres", turn)[1])
    host.check_output(f"systemctl kill --signal=KILL {SERVICE}")
    for _ in range(100):
        if int(query(host, "postgres", turn)[1]) > before:
            break
        time.sleep(0.2)
    assert int(query(host, "postgres", turn)[1]) == before + 1
    assert host.run("sensmail records check").rc == 0


def test_settings_hold_no_secret_and_others_cannot_read_them(host: Host) -> None:
    settings = host.file("/etc/sensmail/records.toml")
    assert (settings.user, settings.group, settings.mode) == ("root", "sensmail-sealer", 0o640)
    assert settings.content_string.count("=") == 1
    environment = host.check_output(f"systemctl show --property=Environment --value {SERVICE}")
    assert json.dumps(environment) == '""'
