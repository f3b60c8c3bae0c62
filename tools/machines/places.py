"""Where everything lies: caches that outlive a checkout, and the state of this checkout's machines."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("SENSMAIL_CACHE", "/var/cache/sensmail"))
STATE = Path(os.environ.get("SENSMAIL_STATE", "/var/lib/sensmail-machines"))


@dataclass(frozen=True)
class Site:
    """The machines of one checkout: their state directory, bridge and subnet.

    The subnet is a /24 of 198.18.0.0/15, which RFC 2544 sets aside for test networks.
    """

    checkout: Path

    @property
    def id(self) -> str:
        return hashlib.sha256(str(self.checkout).encode()).hexdigest()[:6]

    @property
    def state(self) -> Path:
        return STATE / self.id

    @property
    def bridge(self) -> str:
        return f"sm-{self.id}"

    @property
    def number(self) -> int:
        """Which /24 is this checkout's: claimed on first use, so that two checkouts never share one.

        Call it under the state lock. 0 is left for what all checkouts share (the package cache).
        """
        claim = self.state / "subnet"
        if not claim.exists():
            taken = {int(path.read_text()) for path in STATE.glob("*/subnet")}
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            claim.write_text(str(next(n for n in range(1, 255) if n not in taken)))
        return int(claim.read_text())

    @property
    def subnet(self) -> str:
        return f"198.18.{self.number}"

    @property
    def subnet6(self) -> str:
        return f"fd53:6d61:696c:{self.number:x}:"

    @property
    def gateway(self) -> str:
        return f"{self.subnet}.1"

    @property
    def ssh_key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def ssh_config(self) -> Path:
        return self.checkout / "build" / "machines" / "ssh_config"


def this_site() -> Site:
    """The site of the checkout that holds this file."""
    return Site(Path(__file__).resolve().parents[2])
