"""One machine: its record on disk, and its life from creation to removal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cgroup, images, root
from .places import Site
from .seed import plant
from .system import MachineError, run, systemd_is_pid_1

_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}")
_BOOT_SECONDS = 60
# systemd-nspawn leaves with 133 when the machine asks for a reboot (its --keep-unit leaves the restart to us).
_MARK = "SENSMAIL_MACHINE"
# The first argument is the list of its control group's processes, or empty.
_SUPERVISE = '[ -z "$1" ] || echo $$ > "$1"; shift; while :; do "$@"; [ $? = 133 ] || exit 0; done'


@dataclass
class Machine:
    """What is known of one machine; kept as `machine.json` in its home directory."""

    name: str
    address: str
    address6: str
    distribution: str
    image: str
    root: str
    user: str

    def home(self, site: Site) -> Path:
        return site.state / "machines" / self.name

    def save(self, site: Site) -> None:
        path = self.home(site) / "machine.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
        partial.replace(path)

    def running(self, site: Site) -> bool:
        """Whether it is up or rebooting; an init orphaned by a crash does not count."""
        return bool({"sh", "systemd-nspawn"} & set(processes(self.home(site)).values()))


def cable(site: Site, name: str) -> str:
    """Its nspawn name, after which its network cable is named: unique over all checkouts, short enough for both."""
    return "sm" + hashlib.sha256(f"{site.id}/{name}".encode()).hexdigest()[:8]


def all_machines(site: Site) -> list[Machine]:
    """The machines of `site` by name; a home without a readable record (a crash) is not one of them."""
    found = []
    for path in sorted((site.state / "machines").glob("*/machine.json")):
        try:
            found.append(Machine(**json.loads(path.read_text())))
        except (ValueError, TypeError) as error:
            raise MachineError(f"{path}: {error}. Remove the machine: machines remove {path.parent.name}") from None
    return found


def get(site: Site, name: str) -> Machine:
    """The machine `name`; raises MachineError where there is none."""
    for machine in all_machines(site):
        if machine.name == name:
            return machine
    raise MachineError(f"no machine named {name!r}. `machines list` shows those there are.")


def declare(site: Site, name: str, distribution: str, image: str, root_kind: str) -> Machine:
    """The existing machine `name`, or a new record with the next free address.

    Raises:
        MachineError: the name is not usable, or the machine exists with other properties.
    """
    if not _NAME.fullmatch(name):
        raise MachineError(f"{name!r}: a name is a letter, then up to ten of a-z 0-9 and '-'.")
    others = all_machines(site)
    for machine in others:
        if machine.name == name:
            if (machine.distribution, machine.image, machine.root) != (distribution, image, root_kind):
                raise MachineError(
                    f"{name} exists as {machine.distribution}/{machine.image}/{machine.root}, not as "
                    f"{distribution}/{image}/{root_kind}. Remove it first: machines remove {name}"
                )
            return machine
    taken = {machine.address for machine in others}
    number = next(n for n in range(10, 250) if f"{site.subnet}.{n}" not in taken)
    # A plain machine is entered as an ordinary sudo user, as an operator would find it.
    user = "ops" if image == "plain" else "root"
    machine = Machine(
        name, f"{site.subnet}.{number}", f"{site.subnet6}:{number:x}", distribution, image, root_kind, user
    )
    machine.save(site)
    return machine


def boot(site: Site, machine: Machine) -> None:
    """Mount, seed and start `machine` unless it runs, then wait until SSH answers."""
    # One that runs may be on its way down (its init was just killed): then it is started again.
    if machine.running(site) and _reached(site, machine):
        return
    home = machine.home(site)
    halt(home, gently=False)  # what a crash may have left of it
    tree = images.base(images.Recipe(machine.distribution, machine.image))
    mounted = root.mount(machine.root, tree, home)
    plant(site, machine, mounted)
    for _ in range(2):
        # After a power cut the kernel is not done with the old processes yet: their group goes when they have.
        cgroup.remove(cable(site, machine.name))
        _start(site, machine, mounted)
        if _reached(site, machine):
            return
        halt(home, gently=False)
    log = home / "console.log"
    raise MachineError(f"{machine.name} stopped twice while booting. Its console: {log}\n{_tail(log)}")


def halt(home: Path, *, gently: bool) -> None:
    """Stop what runs in `home`: by its own shutdown when `gently`, else at once, as a power cut would."""
    if gently:
        for pid, name in processes(home).items():
            if name == "systemd-nspawn":
                os.kill(pid, signal.SIGTERM)
        _wait_until_gone(home, 90)
    for pid in processes(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not _wait_until_gone(home, 15):
        raise MachineError(f"{home.name}: processes {sorted(processes(home))} do not end")


def _wait_until_gone(home: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes(home: Path) -> dict[int, str]:
    """Process ids and names of the machine in `home`: supervisor, systemd-nspawn and its init, recorded or not.

    They are known by a variable of their environment, which an init orphaned by a crash still carries.
    """
    mark = f"{_MARK}={home}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found[int(path.name)] = (path / "comm").read_text().strip()
    return found


def _unit(site: Site, machine: Machine) -> str:
    return f"sensmail-machine-{site.id}-{machine.name}"


def _start(site: Site, machine: Machine, mounted: Path) -> None:
    """Start systemd-nspawn in the background, under a supervisor that lets it reboot."""
    wire = cable(site, machine.name)
    run("ip", "link", "delete", f"vb-{wire}", check=False)  # a crash leaves it for a while
    group = None if systemd_is_pid_1() else cgroup.make(wire)
    command = [
        "sh", "-c", _SUPERVISE, "machine", str(group / "cgroup.procs") if group else "",
        "systemd-nspawn", "--quiet", "-D", str(mounted), "--boot",
        f"--machine={wire}", f"--hostname={machine.name}", f"--network-bridge={site.bridge}",
        "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--console=pipe",
        "--kill-signal=SIGRTMIN+3", f"--setenv={_MARK}={machine.home(site)}",
        "--capability=CAP_IPC_LOCK",  # as on a real host, a service may lock its memory
    ]  # fmt: skip
    environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", _MARK: str(machine.home(site))}
    log = machine.home(site) / "console.log"
    if systemd_is_pid_1():
        # --keep-unit needs a unit that may hand its control group on.
        unit = _unit(site, machine)
        run("systemctl", "reset-failed", f"{unit}.service", check=False)
        run(
            "systemd-run", "--quiet", "--collect", f"--unit={unit}", "--property=Delegate=yes",
            "--property=KillMode=mixed", "--property=TasksMax=infinity", f"--property=StandardOutput=append:{log}",
            f"--property=StandardError=append:{log}", *(f"--setenv={k}={v}" for k, v in environment.items()), *command,
        )  # fmt: skip
        return
    with log.open("ab") as output:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment},
            start_new_session=True,
        )  # fmt: skip


def _reached(site: Site, machine: Machine) -> bool:
    """Wait until SSH answers; False when the machine stops instead.

    Raises:
        MachineError: it runs, but does not answer.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    while machine.running(site):
        if _ssh_answers(machine):
            return True
        if time.monotonic() > deadline:
            log = machine.home(site) / "console.log"
            raise MachineError(f"{machine.name}: no SSH after {_BOOT_SECONDS} s. Its console: {log}\n{_tail(log)}")
        time.sleep(0.1)
    return False


def _ssh_answers(machine: Machine) -> bool:
    try:
        with socket.create_connection((machine.address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])
