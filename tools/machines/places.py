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
    def subnet(self) -> str:
        # 198.18.0.0/24 is left for addresses that all checkouts share (the package cache).
        return f"198.18.{1 + int(self.id, 16) % 254}"

    @property
    def subnet6(self) -> str:
        return f"fd53:6d{self.id[:2]}:{self.id[2:]}:1:"

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
