"""Testinfra's `host` on the machine under test, whatever called pytest: make, molecule or a person."""

from __future__ import annotations

import pytest
import testinfra
from testinfra.host import Host

from machine import Machine


@pytest.fixture(scope="session")
def host(machine: Machine) -> Host:
    """The machine under test, as root."""
    return testinfra.get_host(f"ssh://{machine.name}?sudo=true", ssh_config=str(machine.ssh_config))
