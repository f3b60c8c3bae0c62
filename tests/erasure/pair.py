"""Two deployed database hosts, and what the tests do on them: run a script, carry files across, back up, restore."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import machine as machines
import stage

PYTHON = "/opt/sensmail/current/bin/python"
ON_HOST = Path(__file__).parent / "on_host"
INVENTORY = stage.ROOT / "build" / "erasure"  # two levels down, as connection.yml expects of an inventory
BACKUPS = "/var/lib/postgresql/backup"
DATA = "/var/lib/postgresql/17/main"
CLUSTER = "postgresql@17-main.service"


class Host:
    """One machine, entered as root."""

    def __init__(self, machine: machines.Machine) -> None:
        self.machine, self.name = machine, machine.name
        self.ssh = ["ssh", "-F", str(machine.ssh_config), "-o", "ConnectTimeout=10", machine.name]

    def run(self, command: str, given: bytes = b"", timeout: float = 300) -> str:
        """A shell command; `given` is its standard input, the only way that a secret goes."""
        done = subprocess.run([*self.ssh, command], input=given, capture_output=True, check=False, timeout=timeout)
        words = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{self.name}: {command}\n{words}{done.stderr.decode(errors='replace')}"
        return words

    def script(self, name: str, **given: Any) -> Any:
        """Run `on_host/<name>.py` by the engine's Python; JSON in on standard input, JSON out."""
        place = f"/run/{name}.py"
        self.run(f"cat > {place}", (ON_HOST / f"{name}.py").read_bytes())
        return json.loads(self.run(f"{PYTHON} -I {place}", json.dumps(given).encode()))

    def allow_openings(self) -> None:
        """So many openings a minute as tests want; the deployment's own number is for people."""
        policy = "/etc/sensmail/policy.json"
        self.run(
            f'sed -i \'s/"openings_per_minute": *60/"openings_per_minute": 6000/\' {policy} && grep -q 6000 {policy}'
        )

    def take(self, path: str) -> bytes:
        """A directory of this host as a tar archive."""
        return subprocess.run([*self.ssh, f"tar -C {path} -cf - ."], capture_output=True, check=True).stdout

    def put(self, path: str, archive: bytes) -> None:
        """Unpack such an archive into a new directory."""
        self.run(f"rm -rf {path} && mkdir -p -m 700 {path} && tar -C {path} -xf -", archive)

    def back_up(self, name: str) -> None:
        """A base backup with the WAL that it needs. (Whoever backs up in earnest gets a role of its own for it.)"""
        rule = "local replication postgres peer"
        hba = "/etc/postgresql/17/main/pg_hba.conf"
        self.run(f"grep -q '^{rule}' {hba} || {{ echo '{rule}' >> {hba}; systemctl reload {CLUSTER}; sleep 1; }}")
        self.run(f"install -d -o postgres -g postgres -m 700 {BACKUPS}")
        self.run(f"rm -rf {BACKUPS}/{name}")
        self.run(f"cd / && runuser -u postgres -- pg_basebackup -D {BACKUPS}/{name} -X stream -c fast")

    def restore(self, archive: bytes) -> None:
        """Put a base backup in the place of this host's database."""
        self.run(f"systemctl stop {CLUSTER}")
        self.put(DATA, archive)
        self.run(f"chown -R postgres:postgres {DATA} && systemctl start {CLUSTER}", timeout=120)


def deploy(*names: str) -> str:
    """Bring these machines to database hosts with keys; returns what Ansible said."""
    INVENTORY.mkdir(parents=True, exist_ok=True)
    link = INVENTORY / "group_vars"
    link.unlink(missing_ok=True)
    link.symlink_to(stage.ROOT / "inventories/local/group_vars")
    hosts: dict[str, Any] = {"hosts": dict.fromkeys(names)}
    duties: dict[str, Any] = {"databases": hosts, "mailhosts": {"hosts": {}}, "portals": {"hosts": {}}}
    (INVENTORY / "hosts.yml").write_text(json.dumps(duties))  # JSON is YAML
    return stage.run("erasure-deploy", "ansible-playbook", "-i", str(INVENTORY / "hosts.yml"), "playbooks/site.yml")
