"""What each machine gets of its own before its first boot: identity, address, keys."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .places import Site
from .system import run

if TYPE_CHECKING:
    from .machine import Machine


def plant(site: Site, machine: Machine, tree: Path) -> None:
    """Write identity, network and SSH keys into `tree`; what is there already stays."""
    identity = tree / "etc/machine-id"
    if not identity.read_text().strip():
        identity.write_text(secrets.token_hex(16) + "\n")
    (tree / "etc/hostname").write_text(f"{machine.name}\n")
    (tree / "etc/hosts").write_text(
        f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{machine.address} {machine.name}\n"
    )
    resolver = tree / "etc/resolv.conf"
    if not resolver.exists() or resolver.is_symlink():
        resolver.unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", resolver)
    _network(site, machine, tree)
    _ssh(site, machine, tree)


def _network(site: Site, machine: Machine, tree: Path) -> None:
    path = tree / "etc/systemd/network/10-host0.network"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "[Match]\nName=host0\n\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nDHCP=no\n"
        f"Address={machine.address}/24\nGateway={site.gateway}\nAddress={machine.address6}/64\n"
        f"Gateway={site.subnet6}:1\n"
    )


def _ssh(site: Site, machine: Machine, tree: Path) -> None:
    host_key = tree / "etc/ssh/ssh_host_ed25519_key"
    if not host_key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", str(host_key))
    home, owner = (tree / "root", 0) if machine.user == "root" else (tree / "home" / machine.user, 1000)
    if machine.user != "root" and not home.exists():
        run("chroot", str(tree), "useradd", "--create-home", "--uid", str(owner), "--shell", "/bin/bash", machine.user)
        sudoers = tree / "etc/sudoers.d/operator"
        sudoers.write_text(f"{machine.user} ALL=(ALL) NOPASSWD: ALL\n")
        sudoers.chmod(0o440)
    directory = home / ".ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    keys = directory / "authorized_keys"
    keys.write_text(site.ssh_key.with_suffix(".pub").read_text())
    keys.chmod(0o600)
    for path in (directory, keys):
        shutil.chown(path, owner, owner)
