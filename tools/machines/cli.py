"""The command line: create, list, shell, run, stop, remove."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict

from . import access, cgroup, images, machine, network, packages, root
from .places import STATE, Site, this_site
from .system import MachineError, locked, say


def main() -> int:
    """Run one verb; returns the process's exit status."""
    arguments = _parser().parse_args()
    if os.geteuid() != 0:
        say("machines: needs root (it mounts, makes a bridge and starts systemd-nspawn)")
        return 2
    site = this_site()
    try:
        return int(arguments.verb(site, arguments) or 0)
    except MachineError as error:
        say(f"machines: {error}")
        return 1


def create(site: Site, arguments: argparse.Namespace) -> None:
    """Make each named machine and start it; one that runs already is left as it is."""
    with locked(STATE / ".lock"):
        packages.start()
        access.ensure_key(site)
        network.up(site)
        for name in arguments.names:
            one = machine.declare(site, name, arguments.distribution, arguments.image, arguments.root)
            machine.boot(site, one)
            access.write_ssh_config(site)
            say(f"{one.name} is up at {one.address}")
    _show(site, [machine.get(site, name) for name in arguments.names])


def list_(site: Site, arguments: argparse.Namespace) -> None:
    """Print this checkout's machines as JSON."""
    _show(site, machine.all_machines(site))


def image(site: Site, arguments: argparse.Namespace) -> None:
    """Build the base image (for a warm cache) and print its path."""
    with locked(STATE / ".lock"):
        packages.start()
        print(images.base(images.Recipe(arguments.distribution, arguments.image)))


def stop(site: Site, arguments: argparse.Namespace) -> None:
    """Stop machines; their disks stay, and `create` starts them again."""
    for name in arguments.names:
        machine.halt(machine.get(site, name).home(site), gently=not arguments.cut)


def remove(site: Site, arguments: argparse.Namespace) -> None:
    """Remove machines and, with the last one, the bridge, the NAT table and the package cache."""
    homes = site.state / "machines"
    names = [path.name for path in homes.glob("*")] if arguments.all else arguments.names
    with locked(STATE / ".lock"):
        for name in names:
            _remove_one(site, name)
        if site.state.exists():
            access.write_ssh_config(site)
        if not any(homes.glob("*")):
            network.down(site)
            shutil.rmtree(site.state, ignore_errors=True)
            shutil.rmtree(site.ssh_config.parent, ignore_errors=True)
        if not any(STATE.glob("*/machines/*")):
            packages.stop()


def _remove_one(site: Site, name: str) -> None:
    home = site.state / "machines" / name
    if not home.exists():
        say(f"{name}: no such machine, nothing to remove")
        return
    machine.halt(home, gently=False)
    cgroup.remove(machine.cable(site, name))
    root.discard(home)
    say(f"{name} is removed")


def shell(site: Site, arguments: argparse.Namespace) -> None:
    """Open a shell on a machine, or run a command there."""
    machine.get(site, arguments.name)
    command = ["ssh", "-F", str(site.ssh_config), arguments.name, *arguments.command]
    os.execvp(command[0], command)


def _show(site: Site, found: list[machine.Machine]) -> None:
    rows = [
        {**asdict(one), "running": one.running(site), "ssh_config": str(site.ssh_config), "key": str(site.ssh_key)}
        for one in found
    ]
    json.dump(rows, sys.stdout, indent=2)
    print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="machines", description="Local test hosts (systemd-nspawn, reached by SSH).")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function: object, name: str, text: str | None) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=(text or "").splitlines()[0], description=text)
        added.set_defaults(verb=function)
        return added

    def base_options(added: argparse.ArgumentParser) -> None:
        added.add_argument("--distribution", choices=images.DISTRIBUTIONS, default="trixie")
        added.add_argument("--image", choices=images.KINDS, default="cloud", help="plain: no Python, a sudo user")

    making = verb(create, "create", create.__doc__)
    base_options(making)
    making.add_argument("--root", choices=root.KINDS, default="overlay", help="ext4: a raw disk image of its own")
    making.add_argument("names", nargs="+", metavar="NAME")
    base_options(verb(image, "image", image.__doc__))
    verb(list_, "list", list_.__doc__)
    stopping = verb(stop, "stop", stop.__doc__)
    stopping.add_argument("--cut", action="store_true", help="at once, as a power cut would")
    stopping.add_argument("names", nargs="+", metavar="NAME")
    removing = verb(remove, "remove", remove.__doc__)
    removing.add_argument("--all", action="store_true", help="every machine of this checkout")
    removing.add_argument("names", nargs="*", metavar="NAME")
    entering = verb(shell, "shell", shell.__doc__)
    entering.add_argument("name", metavar="NAME")
    entering.add_argument("command", nargs=argparse.REMAINDER, help="a command instead of a shell")
    return parser
