"""Cached base images: one directory tree a recipe, built once and shared read-only by every machine."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from . import packages
from .places import CACHE
from .system import MachineError, locked, run, say

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"


@dataclass(frozen=True)
class Recipe:
    """What goes into a base image; its digest names the cached tree."""

    distribution: str
    kind: str

    @property
    def include(self) -> list[str]:
        # `plain` is what debootstrap leaves: no Python at all. `cloud` is what a provider's image brings.
        common = ["systemd-sysv", "dbus", "sudo", "iproute2", "openssh-server", "ca-certificates"]
        extra = ["python3", "python3-apt", "nftables", "libpam-systemd"]
        return common if self.kind == "plain" else common + extra

    @property
    def suites(self) -> list[str]:
        name, signed = self.distribution, f"[signed-by={_KEYRING}]"
        return [
            f"deb {signed} {_MIRROR} {name} main",
            f"deb {signed} {_MIRROR} {name}-updates main",
            f"deb {signed} {_SECURITY} {name}-security main",
        ]

    @property
    def digest(self) -> str:
        text = json.dumps({**asdict(self), "include": self.include, "suites": self.suites, "format": 3})
        return hashlib.sha256(text.encode()).hexdigest()[:12]


DISTRIBUTIONS = ("trixie", "bookworm")
KINDS = ("cloud", "plain")


def base(recipe: Recipe) -> Path:
    """The tree of `recipe`, built if this computer has none yet (about a minute)."""
    tree = CACHE / "images" / f"{recipe.distribution}-{recipe.kind}-{recipe.digest}"
    with locked(CACHE / "images" / ".lock"):
        if not tree.is_dir():
            _build(recipe, tree)
    return tree


def _build(recipe: Recipe, tree: Path) -> None:
    say(f"building the base image {tree.name} (about a minute, once)")
    partial = tree.with_name(tree.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    variant = "important" if recipe.kind == "plain" else "minbase"
    # A file in place of a pipe: the suites carry the security and update lines in one go.
    run(
        "mmdebstrap", f"--variant={variant}", f"--include={','.join(recipe.include)}", "--mode=root",
        f'--aptopt=Acquire::http::Proxy "{packages.PROXY}"', "--skip=cleanup/apt",
        recipe.distribution, str(partial), "-", stdin="\n".join(recipe.suites) + "\n",
    )  # fmt: skip
    _settle(partial)
    partial.rename(tree)


def _settle(tree: Path) -> None:
    """Take out what must be each machine's own, and put in what all of them share."""
    for host_key in (tree / "etc/ssh").glob("ssh_host_*"):
        host_key.unlink()
    (tree / "etc/machine-id").write_text("")
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (tree / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    proxy = tree / "etc/apt/apt.conf.d/01proxy"
    proxy.write_text(f'Acquire::http::Proxy "{packages.PROXY}";\n')
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for unit in ("systemd-networkd.service", "ssh.service"):
        if not (tree / "usr/lib/systemd/system" / unit).exists():
            raise MachineError(f"{tree}: the base image has no {unit}")
        if not (wants / unit).is_symlink():
            (wants / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")
