# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of a host before anything runs on it, and how its answers are read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# POSIX shell; no Python, changes nothing. An answer is a line `survey.<name>=<value>`, an installed package
# `package.<state> <name>=<version>`.
SCRIPT = r"""
say() { echo "survey.$1=$2"; }
has() { if [ -e "$1" ]; then echo yes; else echo no; fi; }
ID= VERSION_ID= VERSION_CODENAME= PRETTY_NAME=
if [ -r /etc/os-release ]; then . /etc/os-release; fi
say id "$ID"
say version "$VERSION_ID"
say codename "$VERSION_CODENAME"
say name "${PRETTY_NAME:-$(uname -s)}"
say machine "$(uname -m)"
say systemd "$(has /run/systemd/system)"
if command -v systemd-detect-virt >/dev/null 2>&1 && systemd-detect-virt --quiet --container
then say container yes; else say container no; fi
say memory_kb "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo 2>/dev/null)"
say free_kb_root "$(df -Pk / 2>/dev/null | awk 'END { print $4 }')"
say free_kb_var "$(df -Pk /var 2>/dev/null | awk 'END { print $4 }')"
say addresses "$(hostname -I 2>/dev/null)"
if [ -x /usr/bin/python3 ] && [ -d /usr/lib/python3/dist-packages/apt ]; then say python yes; else say python no; fi
# What apt calls interrupted: dpkg was cut off while it wrote its database.
say dpkg_interrupted "$(if ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; then echo yes; else echo no; fi)"
# What keeps services from starting while the apt module installs packages, byte by byte: it stays when that is killed.
say policy_left "$(if [ "$(cat /usr/sbin/policy-rc.d 2>/dev/null)" = "$(printf '#!/bin/sh\nexit 101')" ]
then echo yes; else echo no; fi)"
say engine "$(has /opt/sensmail/current/bin/python)"
dpkg-query -W -f 'package.${db:Status-Abbrev} ${Package}=${Version}\n' 2>/dev/null
say epoch "$(date +%s)"
"""
NUMBERS = ("memory_kb", "free_kb_root", "free_kb_var", "epoch")
FLAGS = ("systemd", "container", "python", "engine", "dpkg_interrupted", "policy_left")


@dataclass(frozen=True)
class Survey:
    """The answers of one host.

    Attributes:
        answers: by name; numbers are 0 and flags are false where the host knew no answer.
        packages: what is installed, with its version.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, output: str) -> Survey:
        """Read what the script wrote, among whatever a login shell may have written besides."""
        answers: dict[str, Any] = dict.fromkeys(("id", "version", "codename", "name", "machine"), "")
        answers |= dict.fromkeys(NUMBERS, 0) | dict.fromkeys(FLAGS, False) | {"addresses": []}
        packages = {}
        for line in map(str.strip, output.splitlines()):
            kind, _, rest = line.partition(".")
            name, _, value = rest.partition("=")
            if kind == "survey":
                answers[name] = _value(name, value)
            elif kind == "package" and name.startswith("ii "):
                packages[name.removeprefix("ii ").strip()] = value
        return cls(answers, packages)

    def facts(self) -> dict[str, Any]:
        """The answers under the names that the modules setup and package_facts use."""
        version = self.answers["version"]
        return {
            "ansible_distribution": self.answers["id"].capitalize(),
            "ansible_distribution_version": version,
            "ansible_distribution_major_version": version.partition(".")[0],
            "ansible_distribution_release": self.answers["codename"],
            "ansible_machine": self.answers["machine"],
            "ansible_memtotal_mb": self.answers["memory_kb"] // 1024,
            "packages": {name: [{"version": version}] for name, version in self.packages.items()},
        }


def _value(name: str, value: str) -> Any:
    if name in NUMBERS:
        return int(value) if value.isdigit() else 0
    if name in FLAGS:
        return value == "yes"
    return value.split() if name == "addresses" else value
