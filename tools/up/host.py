"""What is known of the deployed site: its inventory's names, and what the host itself says."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NAME, WITNESS = "mail", "witness"  # the hosts of inventories/local
CA = Path("build/ca.pem")


@dataclass(frozen=True)
class Site:
    """The local site after `site.yml`.

    Attributes:
        address, address6: of the machine.
        hostname: public name of the mail host, which its certificate carries.
        domains: mail domains, the first being the main one.
        operator_mail: where reports of other mail hosts shall go.
    """

    address: str
    address6: str
    hostname: str
    domains: tuple[str, ...]
    operator_mail: str
    ssh_config: str

    @classmethod
    def read(cls) -> Site:
        """Ask the machines tool and the inventory.

        Raises:
            subprocess.CalledProcessError: one of them fails.
            StopIteration: the machine is not there.
        """
        rows = json.loads(output(sys.executable, "-m", "machines", "list"))
        machine = next(row for row in rows if row["name"] == NAME)
        inventory = json.loads(output("ansible-inventory", "--host", NAME))
        site = cls(
            address=machine["address"],
            address6=machine["address6"],
            hostname=inventory["sensmail_hostname"],
            domains=tuple(inventory["sensmail_domains"]),
            operator_mail=inventory["sensmail_operator_mail"],
            ssh_config=machine["ssh_config"],
        )
        CA.write_text(site.on(f"cat {inventory.get('sensmail_tls_dir', '/etc/sensmail/tls')}/ca.pem"))
        return site

    def on(self, *command: str) -> str:
        """Output of a command on the host; one argument is taken as shell text.

        Raises:
            subprocess.CalledProcessError: it failed; its words are in `stderr`.
        """
        text = command[0] if len(command) == 1 else shlex.join(command)
        return output("ssh", "-F", self.ssh_config, NAME, text)

    def read_file(self, path: str) -> str:
        """A file of the host; empty where there is none."""
        quoted = shlex.quote(path)
        return self.on(f"test ! -e {quoted} || cat {quoted}")


def output(*command: str) -> str:
    """Standard output of a command.

    Raises:
        subprocess.CalledProcessError: it failed; its words are in `stderr`.
    """
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
