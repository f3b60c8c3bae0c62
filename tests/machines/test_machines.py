"""The machines tool on real machines, from a checkout of its own, so that nobody else's machines are touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "machines"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machines need root")


class Checkout:
    """A copy of the tool: another checkout, hence another bridge and subnet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(TOOL, path / "tools" / "machines", ignore=shutil.ignore_patterns("__pycache__"))

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["python3", str(self.path / "tools" / "machines"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert not check or done.returncode == 0, done.stderr
        return done

    def machines(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.call("list").stdout)}

    def on(self, name: str, command: str) -> str:
        return self.call("shell", name, command).stdout.strip()

    def pids(self, name: str, process: str) -> list[int]:
        mark = f"/machines/{name}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment, comm = (path / "environ").read_bytes(), (path / "comm").read_text().strip()
            except OSError:
                continue
            wanted = f"SENSMAIL_MACHINE={self.state}".encode() + mark
            if comm == process and wanted in environment.split(b"\0"):
                found.append(int(path.name))
        return found

    @property
    def state(self) -> Path:
        state = Path(os.environ.get("SENSMAIL_STATE", "/var/lib/sensmail-machines"))
        return state / hashlib.sha256(str(self.path).encode()).hexdigest()[:6]


def holds(image: Path, needle: bytes) -> bool:
    """Whether the sparse file `image` holds `needle` in its written parts."""
    with image.open("rb") as disk:
        end = 0
        while True:
            try:
                start = os.lseek(disk.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: no more data
                return False
            end = os.lseek(disk.fileno(), start, os.SEEK_HOLE)
            disk.seek(start)
            if needle in disk.read(end - start):
                return True


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    one = Checkout(tmp_path_factory.mktemp("checkout"))
    try:
        yield one
    finally:
        one.call("remove", "--all")


def test_two_machines_are_separate_and_see_each_other(checkout: Checkout) -> None:
    checkout.call("create", "one", "two")
    rows = checkout.machines()
    assert rows["one"]["address"] != rows["two"]["address"]
    identities = {checkout.on(name, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") for name in rows}
    assert len(identities) == 2
    assert checkout.on("one", "cat /proc/1/comm; systemctl is-system-running --wait") == "systemd\nrunning"
    checkout.on("one", f"exec 3<>/dev/tcp/{rows['two']['address']}/22 && head -c4 <&3")


def test_creating_again_keeps_what_is_there(checkout: Checkout) -> None:
    checkout.call("create", "one")
    checkout.on("one", "echo kept > /var/tmp/kept; sync")
    booted = checkout.on("one", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1")
    checkout.call("create", "one")
    assert checkout.on("one", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1") == booted
    assert checkout.on("one", "cat /var/tmp/kept") == "kept"


def test_another_shape_under_the_same_name_is_refused(checkout: Checkout) -> None:
    checkout.call("create", "one")
    done = checkout.call("create", "one", "--distribution", "bookworm", check=False)
    assert done.returncode == 1
    assert "exists as trixie/cloud/overlay" in done.stderr
    assert "machines remove one" in done.stderr


@pytest.mark.parametrize("name", ["", "-x", "Mail", "a" * 12, "a/b", "a b", "..", "a\n"])
def test_hostile_names_are_refused(checkout: Checkout, name: str) -> None:
    done = checkout.call("create", "--", name, check=False)
    assert done.returncode == 1
    assert "a name is a letter" in done.stderr


@pytest.mark.parametrize("victim", ["sh", "systemd-nspawn", "systemd"])
def test_a_killed_process_is_recovered_from(checkout: Checkout, victim: str) -> None:
    checkout.call("create", "one")
    checkout.on("one", f"echo {victim} > /var/tmp/victim; sync")
    victims = checkout.pids("one", victim)
    assert victims, f"no process named {victim} belongs to the machine"
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    checkout.call("create", "one")
    assert checkout.on("one", "cat /var/tmp/victim") == victim
    assert len(checkout.pids("one", "systemd-nspawn")) == 1


def test_a_machine_reboots_and_stops_like_a_real_one(checkout: Checkout) -> None:
    checkout.call("create", "one")
    before = checkout.on("one", "stat -c %Y /proc/1")
    time.sleep(1.1)
    checkout.call("shell", "one", "systemctl reboot", check=False)
    deadline = time.monotonic() + 30
    while True:
        done = checkout.call("shell", "one", "stat -c %Y /proc/1", check=False)
        if done.returncode == 0 and done.stdout.strip() != before:
            break
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)
    checkout.call("stop", "one")
    assert not checkout.machines()["one"]["running"]
    checkout.call("create", "one")
    assert checkout.machines()["one"]["running"]


def test_an_ext4_root_is_a_disk_of_its_own(checkout: Checkout) -> None:
    checkout.call("create", "disk", "--root", "ext4")
    assert checkout.on("disk", "stat -f -c %T /") == "ext2/ext3"
    checkout.on("disk", "echo canary-on-the-raw-disk > /var/tmp/c; sync")
    assert holds(checkout.state / "machines" / "disk" / "root.img", b"canary-on-the-raw-disk")
    checkout.call("remove", "disk")
    assert "disk" not in checkout.machines()


def test_a_plain_machine_has_no_python_and_a_sudo_user(checkout: Checkout) -> None:
    checkout.call("create", "plain", "--image", "plain")
    assert checkout.on("plain", "id -un; sudo -n id -un; command -v python3 || echo none") == "ops\nroot\nnone"
    checkout.call("remove", "plain")


def test_removing_leaves_no_trace(tmp_path: Path) -> None:
    other = Checkout(tmp_path)
    other.call("create", "gone")
    bridge = f"sm-{other.state.name}"
    assert bridge in subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    for pid in other.pids("gone", "systemd-nspawn"):
        os.kill(pid, signal.SIGKILL)  # a crash before the removal
    other.call("remove", "--all")
    assert not other.state.exists()
    assert not (other.path / "build" / "machines").exists()
    for command in (["ip", "-br", "link"], ["nft", "list", "tables"], ["mount"], ["losetup", "-a"]):
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert other.state.name not in listing, command
    assert not other.pids("gone", "systemd")
    cable = "sm" + hashlib.sha256(f"{other.state.name}/gone".encode()).hexdigest()[:8]
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{cable}"))


def test_each_machine_has_its_own_control_group(checkout: Checkout) -> None:
    """Else an init waits for the processes of another machine before it ends a service."""
    checkout.call("create", "one", "two")
    groups = [
        (Path("/proc") / str(pid) / "cgroup").read_text().splitlines()[-1]
        for name in ("one", "two")
        for pid in checkout.pids(name, "systemd")
    ]
    assert len(groups) == len(set(groups)) == 2
