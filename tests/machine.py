"""The machine under test, by its name: what tests/host, tests/mail and tests/faults need to reach it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stage import ROOT

NAME_VARIABLE = "SENSMAIL_MACHINE"
DEFAULT_NAME = "mail"  # the one that `make up` makes
WITNESS_OF = {"mail": "witness", "mol-default": "mol-witness"}  # as the inventories have it


@dataclass(frozen=True)
class Machine:
    """A machine of this checkout, reached by SSH.

    Attributes:
        name: in `build/machines/ssh_config` and in the inventory.
        address: its IPv4 address.
        user: that SSH enters as.
        ssh_config: the file that knows its key and host key.
    """

    name: str
    address: str
    user: str
    ssh_config: Path

    def run(self, command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it.

        Raises:
            AssertionError: it ended with another status than 0 while `check` is set.
        """
        ssh = ["ssh", "-F", str(self.ssh_config), "-o", "ConnectTimeout=10", self.name, command]
        done = subprocess.run(
            ssh, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{self.name}: {command}\n{done.stdout}{done.stderr}"
        return done


def tool(*words: str) -> str:
    """Call the machines tool and return its standard output.

    Raises:
        subprocess.CalledProcessError: it failed; its words are on standard error.
    """
    command = [sys.executable, "-m", "machines", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment).stdout


def start(name: str) -> None:
    """Start a machine that exists, in the shape that it has; one that runs is left alone.

    Raises:
        LookupError: there is no such machine.
    """
    for row in json.loads(tool("list")):
        if row["name"] == name:
            shape = [f"--{key}={row[key]}" for key in ("distribution", "image", "root")]
            tool("create", *shape, name)
            return
    raise LookupError(f"no machine {name!r}: `python3 tools/machines list` shows those that exist")


def find(name: str | None = None) -> Machine:
    """The machine called `name`, or the one that `SENSMAIL_MACHINE` names.

    Raises:
        LookupError: it is not there; the text says how to make it.
    """
    wanted = name or os.environ.get(NAME_VARIABLE, DEFAULT_NAME)
    for row in json.loads(tool("list")):
        if row["name"] == wanted and row["running"]:
            return Machine(wanted, row["address"], row["user"], Path(row["ssh_config"]))
    raise LookupError(
        f"no machine {wanted!r} runs: `make up`, or {NAME_VARIABLE}=<one of `python3 tools/machines list`>"
    )
