"""How to get in: one key a checkout, and an ssh_config that knows every machine by name and by host key."""

from __future__ import annotations

from .machine import Machine, all_machines
from .places import Site
from .system import run


def ensure_key(site: Site) -> None:
    """Make the checkout's SSH key once."""
    if not site.ssh_key.exists():
        site.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"machines of {site.id}", "-f", str(site.ssh_key))


def write_ssh_config(site: Site) -> None:
    """Write `build/machines/ssh_config` and the known hosts beside the key; the host keys are checked strictly."""
    blocks, known = [], []
    for machine in all_machines(site):
        blocks.append(_block(site, machine))
        host_key = machine.home(site) / "root/etc/ssh/ssh_host_ed25519_key.pub"
        if host_key.exists():
            kind, key = host_key.read_text().split()[:2]
            known.append(f"{machine.address},{machine.name} {kind} {key}\n")
    (site.state / "known_hosts").write_text("".join(known))
    site.ssh_config.parent.mkdir(parents=True, exist_ok=True)
    site.ssh_config.write_text("\n".join(blocks))
    # The inventory declares it as the key that deploys.
    site.ssh_config.with_name("key.pub").write_text(site.ssh_key.with_suffix(".pub").read_text())


def _block(site: Site, machine: Machine) -> str:
    return (
        f"Host {machine.name} {machine.address}\n"
        f"  HostName {machine.address}\n  User {machine.user}\n  IdentityFile {site.ssh_key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {site.state}/known_hosts\n  StrictHostKeyChecking yes\n"
        "  HostKeyAlgorithms ssh-ed25519\n"
    )
