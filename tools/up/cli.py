"""The steps, one after the other, each saying what it does and how long it took."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from up import demo, dns, host, summary

ROOT = Path(__file__).resolve().parents[2]
SITE = "playbooks/site.yml"
DEMO = "playbooks/demo.yml"


def main() -> int:
    """Bring the local site up, or down; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="up", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("up", "down"), default="up")
    verb = parser.parse_args().verb
    os.chdir(ROOT)
    os.environ["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        return down() if verb == "down" else up()
    except subprocess.CalledProcessError as error:
        print(f"\nup: `{' '.join(map(str, error.cmd))}` ended with {error.returncode}.", file=sys.stderr)
        if error.stderr:
            print(error.stderr.rstrip(), file=sys.stderr)
        print("up: mend what it says above and run `make up` again; it continues where it stopped.", file=sys.stderr)
        return 1


def up() -> int:
    """Make the machines, deploy the site, make two mailboxes, and say how to use them."""
    with step("two machines (the first time, their base image takes about a minute)"):
        call(sys.executable, "-m", "machines", "create", host.NAME, host.WITNESS, stdout=subprocess.DEVNULL)
    with step("site.yml: every role on them"):
        call("ansible-playbook", SITE)
    with step("two mailboxes to try it with"):
        call("ansible-playbook", DEMO)
        site = host.Site.read()
        accounts = demo.accounts(site)
    print(summary.text(site, accounts, dns.records(site)))
    return 0


def down() -> int:
    """Remove every machine of this checkout and what was written about it."""
    call(sys.executable, "-m", "machines", "remove", "--all")
    for path in (host.CA, demo.FILE):
        path.unlink(missing_ok=True)
    print(
        "Removed: machines, bridge, NAT table, package cache service, keys, demo passwords.\n"
        "Kept for the next time (delete by hand): .venv and build here, /var/cache/sensmail, ~/.cache/sensmail."
    )
    return 0


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce a step, and its time once it has ended well."""
    print(f"\n== {what}", flush=True)
    start = time.monotonic()
    yield
    print(f"== done in {time.monotonic() - start:.0f} s", flush=True)


def call(*command: str, stdout: int | None = None) -> None:
    """Run a command whose output people see.

    Raises:
        subprocess.CalledProcessError: it failed; its words are on the terminal.
    """
    width = str(shutil.get_terminal_size().columns)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=stdout, env={**os.environ, "COLUMNS": width})
