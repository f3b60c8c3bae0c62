"""The machines' network on this computer: one bridge and one NAT table a checkout."""

from __future__ import annotations

from pathlib import Path

from .places import Site
from .system import run

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def up(site: Site) -> None:
    """Make the bridge, its addresses and the masquerade; safe to call again."""
    if run("ip", "link", "show", site.bridge, check=False).returncode:
        run("ip", "link", "add", site.bridge, "type", "bridge")
    addresses = run("ip", "-o", "address", "show", "dev", site.bridge).stdout
    if site.gateway not in addresses:
        run("ip", "address", "add", f"{site.gateway}/24", "dev", site.bridge)
    if site.subnet6 not in addresses:
        run("ip", "address", "add", f"{site.subnet6}:1/64", "dev", site.bridge, "nodad", check=False)
    run("ip", "link", "set", site.bridge, "up")
    remembered = site.state / "ip_forward"
    if not remembered.exists():
        remembered.write_text(_FORWARD.read_text())
    _FORWARD.write_text("1")
    # `add` then `delete` makes the replacement atomic whether or not the table was there.
    run("nft", "-f", "-", stdin=_ruleset(site))


def down(site: Site) -> None:
    """Remove every trace of `up`."""
    run("nft", "delete", "table", "ip", _table(site), check=False)
    run("ip", "link", "del", site.bridge, check=False)
    remembered = site.state / "ip_forward"
    if remembered.exists() and not _other_bridges():
        _FORWARD.write_text(remembered.read_text())


def _other_bridges() -> bool:
    return any(path.name.startswith("sm-") for path in Path("/sys/class/net").iterdir())


def _table(site: Site) -> str:
    return f"sensmail_machines_{site.id}"


def _ruleset(site: Site) -> str:
    table = _table(site)
    return f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {site.subnet}.0/24 ip daddr != 198.18.0.0/15 masquerade
  }}
}}
"""
