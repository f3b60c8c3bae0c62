"""A deployment that is interrupted anywhere is completed by the next run, and the run after that changes nothing.

The machine is what a plain debootstrap leaves: no Python, a sudo user, known to Ansible by one inventory line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine as machines
import stage
from faults import runner

SEEDS = [int(seed) for seed in os.environ.get("SENSMAIL_FAULT_SEEDS", "1").split(",")]
MARKS = r"^TASK "
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
