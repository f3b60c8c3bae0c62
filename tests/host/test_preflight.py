"""A host that cannot carry the service is refused in words that help, and nothing on it is changed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

import stage
from machine import Machine

LOCK = "/run/sensmail-deploy/run.lock"
STRANGER = {"controller": "far-away", "controller_id": "f0", "user": "lee", "pid": 1, "started": "1", "since": "today"}


class Preflight:
    """The role, alone, against the machine under test."""

    def __init__(self, machine: Machine, place: Path) -> None:
        self._machine, self._place = machine, place

    def run(self, *options: str, name: str = "", variables: dict[str, Any] | None = None) -> tuple[bool, str]:
        """Whether it ended well, and its words on one line."""
        play = {"hosts": "all", "gather_facts": False, "become": True, "roles": ["sensmail.cloud.preflight"]}
        free = {"name": "Give back", "sensmail.cloud.run_lock": {"state": "released"}}
        playbook = self._place / "play.json"
        playbook.write_text(json.dumps([{**play, "any_errors_fatal": True, "post_tasks": [free]}]))
        ssh = f"--ssh-common-args=-F {self._machine.ssh_config} -o ConnectTimeout=2"
        target = ["-i", f"{name or self._machine.name},", ssh, "-e", json.dumps(variables or {})]
        command = ["ansible-playbook", *target, *options, str(playbook)]
        environment = stage.environment({"ANSIBLE_SSH_RETRIES": "0", "ANSIBLE_TIMEOUT": "2"})
        done = subprocess.run(
            command, cwd=stage.ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert "changed=0" in done.stdout, done.stdout + done.stderr
        return done.returncode == 0, re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.fixture
def preflight(machine: Machine, tmp_path: Path) -> Preflight:
    return Preflight(machine, tmp_path)


def test_the_machine_itself_is_accepted(preflight: Preflight) -> None:
    good, words = preflight.run()
    assert good, words


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"preflight_min_memory_mb": 99_999_999}, r"memory: \d+ MB, at least 99999999 MB are needed \(art4.5.*Fix: "),
        (
            {"preflight_min_disk_gb": 999_999},
            r"disk: \d+ GB free on /, at least 999999 GB.*\| disk: .*/var.*art4.3.*Fix: ",
        ),
        ({"preflight_max_clock_skew_seconds": -1}, r"clock: \d+ s apart from this controller.*art4.3.*Fix: "),
    ],
)
def test_too_little_is_refused(preflight: Preflight, machine: Machine, variables: dict[str, int], words: str) -> None:
    good, said = preflight.run(variables=variables)
    assert not good
    assert re.search(rf"{machine.name} cannot carry the service, nothing was changed on it.*{words}", said), said


@pytest.fixture(params=["debian 12 Debian GNU/Linux 12 (bookworm)", "ubuntu 24.04 Ubuntu 24.04 LTS"])
def other_system(request: pytest.FixtureRequest, host: Host) -> Iterator[str]:
    """The machine says that it is another system; its name."""
    id_, version, name = request.param.split(" ", 2)
    lines = shlex.join([f"ID={id_}", f'VERSION_ID="{version}"', f'PRETTY_NAME="{name}"'])
    host.check_output(f"printf '%s\\n' {lines} > /run/fake-release && mount --bind /run/fake-release /etc/os-release")
    yield name
    host.check_output("umount /etc/os-release && rm /run/fake-release")


def test_another_system_is_refused(preflight: Preflight, other_system: str) -> None:
    good, said = preflight.run()
    assert not good
    assert f"it runs {other_system}, and only Debian 13 (trixie) is supported. Fix: install Debian 13" in said


def test_an_unreachable_host_is_named_with_the_fix(preflight: Preflight) -> None:
    good, said = preflight.run(name="192.0.2.7")
    assert not good
    assert re.search(
        "192.0.2.7 is unreachable at 192.0.2.7 .*timed out.*Fix: .*inventory. No host was changed", said
    ), said


def note(host: Host, holder: dict[str, object]) -> None:
    host.check_output(f"mkdir -p $(dirname {LOCK}) && printf '%s' '{json.dumps(holder)}' > {LOCK}")


def test_two_operators_never_run_at_once(preflight: Preflight, host: Host) -> None:
    note(host, STRANGER)
    try:
        good, said = preflight.run()
        assert not good
        assert "another run is at work on this host: lee on far-away, process 1, since today" in said
        assert "preflight_lock_override=true" in said
        good, said = preflight.run("--check")
        assert good, "a check looks on"
        assert "lee on far-away" in said
        assert preflight.run(variables={"preflight_lock_override": True})[0]
    finally:
        host.run(f"rm -f {LOCK}")


def test_a_run_that_was_killed_stands_in_nobodys_way(preflight: Preflight, host: Host) -> None:
    preflight.run()
    assert host.file(LOCK).content_string == "", "given back at the end"
    note(host, STRANGER)
    host.check_output(f"touch -d '-2 hours' {LOCK}")
    assert preflight.run()[0], "of another controller, long ago"
    from ansible_collections.sensmail.cloud.plugins.action.run_lock import controller_id

    note(host, {**STRANGER, "controller_id": controller_id()})
    assert preflight.run()[0], "of this controller, whose process is gone"
