"""The molecule scenario `default`, step by step, so that every check on its machine counts in one report.

The machine stays for tests/host, tests/mail and whoever looks after a failure; it goes with a session that passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import machine as machines
import stage

CHECK = ("ansible-playbook", "-i", "molecule/default/hosts.yml", "playbooks/site.yml", "--check", "--diff")


@pytest.fixture(scope="session", autouse=True)
def scenario(request: pytest.FixtureRequest) -> Iterator[None]:
    stage.run("molecule-destroy", "molecule", "destroy", "-s", "default")
    yield
    if not request.session.testsfailed:
        stage.run("molecule-destroy", "molecule", "destroy", "-s", "default")


def test_a_check_of_a_bare_machine_ends_well_and_changes_nothing() -> None:
    stage.run("molecule-create", "molecule", "create", "-s", "default")
    machine = machines.find()
    state = "dpkg-query -W; ls -R /etc /usr/local /opt /var/lib/sensmail; nft list ruleset"
    before = machine.run(state, check=False).stdout
    told = stage.run("check-bare", *CHECK)
    for name, least in {machine.name: 20, "mol-witness": 8}.items():
        assert int(re.findall(rf"^{name} .*changed=(\d+)", told, re.MULTILINE)[0]) > least, told[-2000:]
    assert machine.run(state, check=False).stdout == before


def test_converge(request: pytest.FixtureRequest) -> None:
    """From bare machines to a mail host and its witness."""
    try:
        stage.run("molecule-converge", "molecule", "converge", "-s", "default", shown=True)
    except pytest.fail.Exception:
        request.session.shouldfail = "the default scenario does not converge: nothing that follows could be judged"
        raise


def test_idempotence() -> None:
    """A second run changes nothing."""
    stage.run("molecule-idempotence", "molecule", "idempotence", "-s", "default", shown=True)


def test_a_check_of_the_deployed_machine_finds_nothing_to_do() -> None:
    told = stage.run("check-deployed", *CHECK)
    assert re.findall(r"changed=(\d+)", told) == ["0"] * told.count("changed="), told[-2000:]
