"""Testinfra's `host` on the machine under test, whatever called pytest: make, molecule or a person."""

from __future__ import annotations

import pytest
import testinfra
from testinfra.host import Host

import machine as machines
from machine import Machine


@pytest.fixture(scope="session")
def host(machine: Machine) -> Host:
    """The machine under test, as root."""
    return testinfra.get_host(f"ssh://{machine.name}?sudo=true", ssh_config=str(machine.ssh_config))


@pytest.fixture(scope="session")
def witness(machine: Machine) -> Host:
    """The machine that witnesses the records of the one under test, as root."""
    found = machines.find(machines.WITNESS_OF[machine.name])
    return testinfra.get_host(f"ssh://{found.name}?sudo=true", ssh_config=str(found.ssh_config))
