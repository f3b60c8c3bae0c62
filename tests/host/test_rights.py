"""Access rights on the host: an operator comes in, works, and is out; what somebody makes by hand is found."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from machine import Machine

PYTHON = "/opt/sensmail/current/bin/python"
# What module access_right calls, without a controller for each call.
CHANGE = (
    "import json, sys; from sensmail import rights; print(json.dumps(rights.change(json.load(sys.stdin), check=False)))"
)
APPROVAL = {"role": "privacy_officer", "by": "이책임", "reference": "권한신청-2026-031"}


@dataclass
class Operator:
    """A person of the test, with a key and rights of their own."""

    host: Host
    machine: Machine
    account: str
    key: Path

    def change(self, kind: str, **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "state": "present", "kind": kind, "holder": "김운영", "account": self.account, "right": None, "scope": None,
            "public_keys": None, "commands": None, "reason": "test", "approval": APPROVAL,
            "until": self.host.check_output("date -u -d '+30 days' +%F"),
        }  # fmt: skip
        text = json.dumps(options | changes)
        output = self.host.check_output(f"printf '%%s' %s | {PYTHON} -I -c %s", text, CHANGE)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def grant(self, **changes: Any) -> dict[str, Any]:
        return self.change("operator", public_keys=[self.key.with_suffix(".pub").read_text()], **changes)

    def revoke(self, kind: str = "operator") -> dict[str, Any]:
        return self.change(kind, state="absent", until=None)

    def command(self, *words: str) -> list[str]:
        known = self.machine.ssh_config.read_text()
        (hosts,) = set(re.findall(r"UserKnownHostsFile (\S+)", known))
        options = ["-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        options += ["-o", f"UserKnownHostsFile={hosts}", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"]
        options += ["-o", "HostKeyAlgorithms=ssh-ed25519"]
        return ["ssh", *options, f"{self.account}@{self.machine.address}", *words]

    @contextmanager
    def session(self) -> Iterator[subprocess.Popen[str]]:
        """A login that lasts; it is in when this yields."""
        with subprocess.Popen(self.command("echo in; exec sleep 600"), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "in\n"
                yield process
            finally:
                process.kill()

    def ssh(self, words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(words), capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def operator(host: Host, machine: Machine, tmp_path: Path) -> Iterator[Operator]:
    """Somebody new; nothing of them is left at the end but the register."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    person = Operator(host, machine, f"op{secrets.token_hex(3)}", key)
    yield person
    person.revoke()
    host.run("userdel --remove --force %s", person.account)
    host.run("runuser -u postgres -- psql -qc 'DROP ROLE IF EXISTS %s'", person.account)


def findings(host: Host, account: str) -> list[dict[str, Any]]:
    """What reconciliation says about one account."""
    report = json.loads(host.run("sensmail rights reconcile --format json").stdout)
    found: list[dict[str, Any]] = [each for each in report["findings"] if each["right"]["account"] == account]
    return found


def test_the_deployed_host_is_clean(host: Host) -> None:
    done = host.run("sensmail rights reconcile")
    assert done.rc == 0, done.stdout
    assert "이상 없음 / clean" in done.stdout
    assert host.service("sensmail-rights.timer").is_running


def test_an_operator_comes_in_works_and_is_out(host: Host, operator: Operator) -> None:
    assert operator.ssh("true").returncode == 255
    assert operator.grant()["changed"]
    assert not operator.grant()["changed"]
    assert operator.ssh("id -un").stdout.strip() == operator.account
    assert operator.ssh("sudo -n id -un").returncode == 1

    operator.change("sudo", commands=["/usr/bin/id -un"])
    assert operator.ssh("sudo -n /usr/bin/id -un").stdout.strip() == "root"
    assert operator.ssh("sudo -n /usr/bin/id").returncode == 1
    assert operator.ssh("sudo -n cat /etc/shadow").returncode == 1
    operator.change("database", right="sensmail_auditor")
    register = "psql -XAt -h /run/postgresql sensmail -c 'SELECT count(*) > 2 FROM records.access_right'"
    assert operator.ssh(register).stdout.strip() == "t"
    assert operator.ssh(register.replace("records.access_right", "accounts.subject")).returncode != 0
    assert operator.ssh("psql -XAt -h /run/postgresql -U sensmail-jobs sensmail -c 'SELECT 1'").returncode != 0
    assert findings(host, operator.account) == []
    assert operator.account in host.run("sensmail rights dormant").stdout

    with operator.session() as session:
        assert len(operator.revoke()["lines"]) == 3
        assert session.wait(timeout=10) != 0
    assert operator.ssh("true").returncode == 255
    assert host.run("pgrep -u %s", operator.account).stdout == ""
    assert not host.file(f"/etc/sudoers.d/sensmail-{operator.account}").exists
    assert findings(host, operator.account) == []
    assert host.check_output("sensmail rights show %s", operator.account).count("말소 (revoked)") == 3


def test_a_key_in_the_home_opens_nothing_and_is_found(host: Host, operator: Operator, tmp_path: Path) -> None:
    operator.grant()
    friend = Operator(host, operator.machine, operator.account, tmp_path / "friend")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", friend.key], check=True)
    line = friend.key.with_suffix(".pub").read_text().strip()
    assert operator.ssh(f"umask 077; mkdir -p .ssh; echo '{line}' > .ssh/authorized_keys").returncode == 0
    assert friend.ssh("true").returncode == 255
    assert [each["what"] for each in findings(host, operator.account)] == ["differs"]
    assert operator.grant()["lines"][0].startswith("restored")
    assert findings(host, operator.account) == []


def test_an_account_made_by_hand_is_found_and_mailed_about(host: Host, operator: Operator) -> None:
    host.check_output("useradd --create-home %s", operator.account)
    (finding,) = findings(host, operator.account)
    assert (finding["what"], finding["heading"]) == ("unrecorded", "기록 없는 권한 / right without a record")
    assert host.run("systemctl start sensmail-rights.service").rc == 1
    assert host.run("systemctl show -p OnFailure --value sensmail-rights.service").stdout.startswith("sensmail-alert@")
    assert operator.revoke()["changed"]
    assert findings(host, operator.account) == []
    assert host.run("systemctl start sensmail-rights.service").rc == 0


def test_the_timer_ends_what_has_passed(host: Host, operator: Operator) -> None:
    """Its sandbox lets it close the account, end the session, and write to the database."""
    soon = host.check_output("date -u -d '+4 seconds' +%FT%TZ")
    operator.grant(until=soon)
    with operator.session() as session:
        time.sleep(5)
        assert host.run("systemctl start sensmail-rights.service").rc == 0
        assert session.wait(timeout=10) != 0
    assert "its end has passed" in host.check_output("sensmail rights show %s", operator.account)
    assert operator.ssh("true").returncode == 255


def test_the_unit_is_fenced_in(host: Host) -> None:
    assert host.run("systemd-analyze security --threshold=20 sensmail-rights.service").rc == 0


def test_only_root_and_its_own_role_reach_the_register(host: Host) -> None:
    for user in ("nobody", "sensmail-jobs", "postfix"):
        assert host.run("runuser -u %s -- sensmail rights list", user).rc == 1
    assert host.file("/etc/ssh/sensmail-keys").user == "root"
    effective = host.check_output("sshd -T -C user=nobody -C host=x -C addr=198.51.100.1")
    assert "authorizedkeysfile .ssh/authorized_keys" in effective
