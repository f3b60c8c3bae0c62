"""What can break: each kind strikes a running command, and mends what must work again before the next attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import machine as machines

TABLE = "sensmail-fault"
CUT_S = 3.0


@dataclass(frozen=True)
class Break:
    """One kind of fault.

    Attributes:
        strike: called with the command's process group and the machine's name at the moment.
        mend: called with the machine's name once the command has ended.
    """

    strike: Callable[[int, str | None], None]
    mend: Callable[[str | None], None]


def kill(group: int, _: str | None) -> None:
    """SIGKILL to the command and its children, as the memory killer would. What runs on the machine runs on."""
    os.killpg(group, signal.SIGKILL)


def power(_: int, name: str | None) -> None:
    """The machine loses power: nothing is synced, nothing is stopped in order."""
    machines.tool("stop", "--cut", _named(name))


def power_back(name: str | None) -> None:
    """Start the machine again and wait until its services have come up or failed."""
    machines.start(_named(name))
    machines.find(name).run("systemctl is-system-running --wait", check=False)


def cut(_: int, name: str | None) -> None:
    """Every SSH connection to the machine is reset, and none is accepted for `CUT_S` seconds."""
    address = machines.find(_named(name)).address
    hook = "type filter hook output priority -10"
    rule = f"ip daddr {address} tcp dport 22 reject with tcp reset"
    # First clear what a run that was itself killed may have left.
    clear = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
    _nft(f"{clear}table inet {TABLE} {{ chain output {{ {hook}; {rule}\n }}\n }}\n")
    try:
        time.sleep(CUT_S)
    finally:
        _nft(f"delete table inet {TABLE}\n")


def nothing(_: str | None) -> None:
    """There is nothing to mend."""


KINDS = {"kill": Break(kill, nothing), "power": Break(power, power_back), "cut": Break(cut, nothing)}


def _named(name: str | None) -> str:
    if name is None:
        raise ValueError("this kind of fault strikes a machine, and none was named")
    return name


def _nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
