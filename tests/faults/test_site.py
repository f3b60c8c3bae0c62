"""A deployment that is interrupted anywhere is completed by the next run, and the run after that changes nothing.

The machine is what a plain debootstrap leaves: no Python, a sudo user, known to Ansible by one inventory line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine as machines
import stage
from faults import runner

SEEDS = [int(seed) for seed in os.environ.get("SENSMAIL_FAULT_SEEDS", "1").split(",")]
MARKS = r"^TASK "
POLICY = "/usr/sbin/policy-rc.d"
# On the machine: as soon as the apt module has forbidden services to start, it and its child are killed.
KILL_APT = f"""\
until [ -e {POLICY} ] && child=$(pidof -s apt-get); do sleep 0.02; done
kill -9 "$(cut -d ' ' -f 4 "/proc/$child/stat")" "$child"
"""
TASKS = 60  # of the run, done or skipped alike, so that a moment falls into the same task on any computer
PLACE = stage.ROOT / "build" / "faults"  # two levels down, as connection.yml expects of an inventory


@pytest.fixture
def victim(request: pytest.FixtureRequest) -> Iterator[machines.Machine]:
    name = f"fault{os.getpid() % 100_000}"
    machines.tool("create", name, "--image", "plain")
    yield machines.find(name)
    if not request.session.testsfailed:
        machines.tool("remove", name)


@pytest.fixture
def inventory(victim: machines.Machine) -> Path:
    PLACE.mkdir(parents=True, exist_ok=True)
    link = PLACE / "group_vars"
    link.unlink(missing_ok=True)
    link.symlink_to(stage.ROOT / "inventories/local/group_vars")
    duties = {name: {"hosts": {victim.name: None}} for name in ("mailhosts", "databases", "portals")}
    file = PLACE / "hosts.yml"
    file.write_text(json.dumps(duties))  # JSON is YAML
    return file


@pytest.mark.parametrize("seed", SEEDS)
def test_an_interrupted_deployment_is_completed(seed: int, victim: machines.Machine, inventory: Path) -> None:
    site = ["ansible-playbook", "-i", str(inventory), "playbooks/site.yml"]
    faults = runner.plan(seed, TASKS)
    report = runner.run(faults, site, seed=seed, machine=victim.name, marks=MARKS, name=f"site-seed{seed}")
    assert report.hits >= 1
    again = stage.run(f"site-seed{seed}-again", *site)
    assert re.findall(r"changed=(\d+)", again) == ["0"] * again.count("changed="), again
    assert victim.run("systemctl is-system-running --wait", check=False).stdout.strip() == "running"
    kill_an_installation(victim, inventory)
    stage.run(f"site-seed{seed}-policy", *site)
    assert victim.run(f"test ! -e {POLICY}", check=False).returncode == 0, "no update would restart a service"


def kill_an_installation(victim: machines.Machine, inventory: Path) -> None:
    """The apt module is killed while services may not start; what forbids it then stays."""
    apt = ["ansible", "-i", str(inventory), victim.name, "-b", "-m", "ansible.builtin.apt"]
    killer = ["ssh", "-F", str(victim.ssh_config), victim.name, "sudo timeout 60 sh"]
    with subprocess.Popen(killer, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin
        process.stdin.write(KILL_APT)
        process.stdin.close()
        done = subprocess.run(
            [*apt, "-a", "name=cowsay policy_rc_d=101"],
            cwd=stage.ROOT,
            env=stage.environment(),
            check=False,
            timeout=120,
        )
    assert (process.returncode, done.returncode) == (0, 2)
    assert victim.run(f"cat {POLICY}").stdout == "#!/bin/sh\nexit 101\n"
