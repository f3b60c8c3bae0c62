"""The firewall from outside: what is reached, what is not, and that a change can lock nobody out."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

import stage
from machine import Machine

HIDDEN_PORT = 8099  # nobody declares it
CONFIRM_S = 8  # shorter than a site would choose
SHUT = "chain input {\n type filter hook input priority 5; policy drop;\n iif lo accept\n}"
DEAF = (
    "chain input {\n type filter hook input priority 5; policy drop;\n iif lo accept\n ct state established accept\n}"
)
OPEN = "chain input {\n type filter hook input priority 5; policy accept;\n tcp dport 9 drop\n}"


def reached(address: str, port: int) -> bool:
    """True when a connection comes about, or is refused by the host rather than dropped on the way."""
    try:
        socket.create_connection((address, port), timeout=1.5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def answers_ping(address: str) -> bool:
    """True when an echo request is answered (RFC 792, RFC 4443). Needs root, as machines do."""
    family, protocol, kind, answer = (
        (socket.AF_INET6, socket.getprotobyname("ipv6-icmp"), 128, 129)
        if ":" in address
        else (socket.AF_INET, socket.getprotobyname("icmp"), 8, 0)
    )
    mark = os.urandom(4)
    words = struct.unpack("!4H", bytes([kind, 0, 0, 0]) + mark)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF  # the kernel writes its own for IPv6
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(2)
        raw.sendto(struct.pack("!BBH", kind, 0, checksum) + mark, (address, 0))
        try:
            while True:
                packet = raw.recv(1500)
                if packet.endswith(mark) and packet[-8] == answer:
                    return True
        except TimeoutError:
            return False


@pytest.fixture(scope="module")
def addresses(host: Host) -> list[str]:
    found: list[str] = host.check_output("hostname -I").split()
    assert {":" in address for address in found} == {True, False}, "the machine has addresses of both families"
    return found


@pytest.fixture
def hidden(host: Host) -> Iterator[int]:
    """A service on every address that nobody declared."""
    unit = f"hidden-{uuid.uuid4().hex[:8]}"
    serve = f"python3 -m http.server --bind :: --directory /run/systemd {HIDDEN_PORT}"
    host.check_output(f"systemd-run --quiet --collect --unit={unit} {serve}")
    host.check_output(f"until ss -Hltn | grep -q :{HIDDEN_PORT}; do sleep 0.1; done")
    yield HIDDEN_PORT
    host.check_output(f"systemctl stop {unit}")


def test_only_declared_ports_are_reached(host: Host, addresses: list[str], hidden: int) -> None:
    for address in addresses:
        assert reached(address, 22)
        assert not reached(address, hidden)
    rule = f"inet sensmail input tcp dport {hidden} accept"
    host.check_output(f"nft insert rule {rule}")
    try:
        assert all(reached(address, hidden) for address in addresses), (
            "with a rule it is: the firewall is what stops it"
        )
    finally:
        handle = re.search(
            rf"dport {hidden} accept # handle (\d+)", host.check_output("nft -a list chain inet sensmail input")
        )
        assert handle
        host.check_output(f"nft delete rule inet sensmail input handle {handle[1]}")


def test_a_declared_port_without_a_service_answers_at_once(addresses: list[str]) -> None:
    """Reached, whether or not the service is deployed on this machine."""
    assert all(reached(address, 443) for address in addresses)


def test_a_ping_is_answered(addresses: list[str]) -> None:
    for address in addresses:
        assert answers_ping(address), address


def test_the_rules_come_back_with_the_machine(host: Host) -> None:
    assert host.service("sensmail-firewall").is_enabled
    before = host.check_output("nft -s -t list table inet sensmail")
    host.check_output("nft delete table inet sensmail; systemctl restart sensmail-firewall")
    assert host.check_output("nft -s -t list table inet sensmail") == before
    order = host.check_output("systemctl show --property=Before,WantedBy sensmail-firewall")
    assert "network-pre.target" in order


def test_a_stopped_unit_opens_nothing(host: Host) -> None:
    host.check_output("systemctl stop sensmail-firewall")
    try:
        assert "policy drop" in host.check_output("nft list chain inet sensmail input")
    finally:
        host.check_output("systemctl start sensmail-firewall")


class Table:
    """A table beside the real one, changed by the module from this computer."""

    def __init__(self, machine: Machine, host: Host, place: Path) -> None:
        self.name = f"inet t{uuid.uuid4().hex[:8]}"
        self.file = f"/run/{self.name.split()[1]}.nft"
        self._machine, self._host, self._place = machine, host, place

    def run(self, chains: str, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
        ruleset = f"table {self.name} {{\n{chains}\n}}"
        module = {"table": self.name, "path": self.file, "confirm_seconds": CONFIRM_S, "ruleset": ruleset, **extra}
        play = [
            {"hosts": "all", "gather_facts": False, "become": True, "tasks": [{"sensmail.cloud.nft_table": module}]}
        ]
        playbook = self._place / "play.json"
        playbook.write_text(json.dumps(play))
        ssh = f"--ssh-common-args=-F {self._machine.ssh_config} -o ConnectTimeout=2"
        command = ["ansible-playbook", "-i", f"{self._machine.name},", ssh, *options, str(playbook)]
        environment = stage.environment({"ANSIBLE_SSH_RETRIES": "0", "ANSIBLE_TIMEOUT": "2"})
        return subprocess.run(
            command, cwd=stage.ROOT, env=environment, text=True, check=False, timeout=120, capture_output=True
        )

    def change(self, chains: str, *options: str) -> bool:
        done = self.run(chains, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return "changed=1" in done.stdout

    @property
    def live(self) -> str:
        return str(self._host.run(f"nft -s list table {self.name}").stdout)

    @property
    def kept(self) -> str:
        return str(self._host.run(f"cat {self.file}").stdout)

    @property
    def timers(self) -> str:
        return str(self._host.check_output("systemctl list-units --all --no-legend 'sensmail-nft-rollback-*'"))

    def forget(self) -> None:
        self._host.run(f"nft delete table {self.name}; rm -f {self.file}")


@pytest.fixture
def table(machine: Machine, host: Host, tmp_path: Path) -> Iterator[Table]:
    made = Table(machine, host, tmp_path)
    yield made
    made.forget()


def test_a_change_is_confirmed_once_and_kept(table: Table) -> None:
    assert table.change(OPEN)
    assert "dport 9 drop" in table.live
    assert "dport 9 drop" in table.kept
    assert table.timers == ""
    assert not table.change(OPEN)


def test_a_check_changes_nothing(table: Table) -> None:
    assert table.change(OPEN, "--check")
    assert (table.live, table.kept) == ("", "")


def test_what_somebody_changed_by_hand_is_put_right(host: Host, table: Table) -> None:
    table.change(OPEN)
    good = table.live
    host.check_output(f"nft add rule {table.name} input tcp dport 10 drop")
    assert table.change(OPEN, "--check")
    assert table.change(OPEN)
    assert table.live == good
    host.check_output(f"nft delete table {table.name}")
    assert table.change(OPEN)
    assert table.live == good
    host.check_output(f"rm {table.file}")
    assert table.change(OPEN)
    assert "dport 9 drop" in table.kept


@pytest.mark.parametrize("chains", [DEAF, SHUT], ids=["new connections only", "even the open connection"])
@pytest.mark.parametrize("first", [None, OPEN], ids=["without a table before", "with one"])
def test_who_would_be_locked_out_gets_in_again(
    table: Table, first: str | None, chains: str, addresses: list[str]
) -> None:
    if first:
        table.change(first)
    before = (table.live, table.kept)
    done = table.run(chains)
    assert done.returncode == 2
    assert "no new connection" in done.stdout.replace("\n", " ").replace("        ", "")
    assert all(reached(address, 22) for address in addresses)
    assert (table.live, table.kept) == before
    assert table.timers == ""


def test_other_tables_stay(host: Host, table: Table) -> None:
    before = host.check_output("nft -s -t list table inet sensmail")
    done = table.run("}\nflush ruleset\ntable inet x {")
    assert done.returncode == 2
    assert "nothing was changed" in " ".join(done.stdout.split())
    assert host.check_output("nft -s -t list table inet sensmail") == before
    assert table.live == ""
