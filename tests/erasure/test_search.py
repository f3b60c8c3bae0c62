"""Planted values, and every key, are searched for wherever a careless program leaves them; none may be found.

Everything that handles them runs meanwhile: accounts by Ansible with -vvv and --diff, opening, protecting a column that
lay in clear, reseal, roll, errors, a crash of the key service.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

import stage
from erasure.canaries import Watch
from erasure.needles import in_bytes, in_files
from erasure.pair import INVENTORY, PYTHON, Host
from erasure.story import BY, Story

CLEAR = ("root key", "epoch key", "subject key")
PLACES = [Path(each) for each in ("/var", "/tmp", "/etc", "/root", "/home", "/opt", "/run")]
ITEMS = {
    "name": "홍길동 {}",
    "emergency_email": "{}@canary.test",
    "department": "영업부 {}",
    "position": "과장 {}",
    "employee_number": "{}",
}


@dataclass
class Everything:
    """What was planted, and what was said while it was handled."""

    values: list[str] = field(default_factory=list)
    said: str = ""
    watch: Watch | None = None

    def needles(self, story: Story) -> list[bytes]:
        """Values and keys."""
        keys = [value for name, value in story.secrets.items() if name.startswith(CLEAR)]
        return [*(value.encode() for value in self.values), *keys]


def person(number: int) -> dict[str, Any]:
    made = {item: text.format(token_hex(12)) for item, text in ITEMS.items()}
    return {"address": f"canary{number}@canary.test", **made}


def play(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accounts as an operator writes them, and not even `no_log` on the task."""
    account = {"tenants": [{"name": "canary", "domains": ["canary.test"]}], "accounts": people}
    variables = {"ansible_python_interpreter": PYTHON}
    return [
        {
            "hosts": "all",
            "become": True,
            "tasks": [{"name": "People", "sensmail.cloud.account": account, "vars": variables}],
        }
    ]


def ansible(name: str, tasks: list[dict[str, Any]], host: Host, *words: str) -> str:
    """Run a playbook that lies in memory; a failure is part of what is looked at."""
    file = Path("/dev/shm") / f"sensmail-{token_hex(4)}.yml"
    file.write_text(json.dumps(tasks))
    command = ["ansible-playbook", "-i", str(INVENTORY / "hosts.yml"), "--limit", host.name, *words, str(file)]
    try:
        done = subprocess.run(
            command, cwd=stage.ROOT, env=stage.environment(), capture_output=True, text=True, check=False
        )
    finally:
        file.unlink()
    (stage.LOGS / f"canary-{name}.log").write_text(done.stdout + done.stderr)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def everything(pair: tuple[Host, Host], story: Story) -> Everything:
    host, told = pair[0], Everything()
    people = [person(number) for number in range(3)]
    told.values = [value for each in people for item, value in each.items() if item in ITEMS]
    told.watch = Watch(told.needles(story))
    with told.watch.running():
        host.run("touch /run/canary-begun")
        told.said += ansible("check", play(people), host, "-vvv", "--diff", "--check")
        told.said += ansible("make", play(people), host, "-vvv", "--diff")
        assert "failed=0" in told.said, told.said[-2000:]
        people[0] |= {"name": f"새 이름 {token_hex(12)}", "update_sealed": "always"}
        told.values.append(people[0]["name"])
        told.said += ansible("change", play(people), host, "-vvv", "--diff")
        broken = [{**people[1], "address": "not an address"}]
        told.said += ansible("refuse", play(broken), host, "-vvv", "--diff")
        told.said += json.dumps(host.script("errors", values=told.values), ensure_ascii=False)
        for command in (
            f"sensmail keys roll {BY}",
            f"sensmail keys rotate --now reseal {BY}",
            "sensmail keys status",
            "sensmail keys register",
        ):
            told.said += host.run(command)
        told.said += host.run("systemctl kill --signal=ABRT sensmail-keyd.service; sleep 5; sensmail keys status")
    return told


def test_the_search_sees_what_was_planted(pair: tuple[Host, Host], everything: Everything) -> None:
    """The values are there, sealed: the host gives them back to whoever may open them."""
    opened = {each["now"] for each in pair[0].script("look").values()}
    assert {value for value in everything.values if value.endswith("@canary.test")} <= opened
    assert everything.watch
    assert everything.watch.looks > 100
    assert any("ansible" in name or "python" in name for name in everything.watch.names)


def test_no_process_was_told_a_secret(everything: Everything) -> None:
    assert everything.watch
    assert everything.watch.found == set()


def test_nothing_said_holds_a_secret(everything: Everything, story: Story) -> None:
    assert "changed=1" in everything.said
    assert in_bytes(everything.said.encode(), everything.needles(story)) == []


def test_no_dump_of_the_database_holds_a_secret(pair: tuple[Host, Host], everything: Everything, story: Story) -> None:
    dump = pair[0].run("cd / && runuser -u postgres -- pg_dumpall").encode()
    assert b"canary0@canary.test" in dump
    assert in_bytes(dump, everything.needles(story)) == []


def test_no_journal_holds_a_secret(pair: tuple[Host, Host], everything: Everything, story: Story) -> None:
    journal = pair[0].run("journalctl --no-pager --output=export").encode()
    assert b"sensmail-keyd" in journal
    assert in_bytes(journal, everything.needles(story)) == []


def test_no_file_holds_a_secret(pair: tuple[Host, Host], everything: Everything, story: Story) -> None:
    """Heap, index, WAL, logs, temporary files, the key file: everything on disk, and the memory file systems too."""
    pair[0].run("sync")
    assert in_files(everything.needles(story), *PLACES, prefix=pair[0].ssh) == []


def test_a_crash_leaves_no_core(pair: tuple[Host, Host], everything: Everything) -> None:
    """The service was killed by SIGABRT, which dumps a core where one may be dumped."""
    names = r"\( -name core -o -name 'core.*' -o -name '*.core' \)"
    found = pair[0].run(f"find / -xdev -type f {names} -newer /run/canary-begun 2>/dev/null; true")
    assert found.split() == []
    pid = pair[0].run("systemctl show --property=MainPID --value sensmail-keyd.service").strip()
    assert pair[0].run(f"grep 'core file' /proc/{pid}/limits").split()[4:6] == ["0", "0"]
    assert "6/ABRT" in pair[0].run("journalctl --unit=sensmail-keyd.service --no-pager")
