"""`converge_fresh` and `converge_again`: a bare machine to a mail host, and a second run that changes nothing.

The baseline of the first is one `apt-get install` of what the deployed host's `apt-mark showmanual` lists: the least
that any way of deploying must do. Both sides start on a fresh overlay, with the package lists fetched and the shared
package cache warm; rounds alternate, so that a busy minute strikes both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from bench.harness import ROOT, ROUNDS, Figure, benchmark, stopwatch

NAME = "bench"
PLACE = ROOT / "build" / "bench"
TIMES = PLACE / "tasks.json"
SLOWEST = 15


@benchmark("converge")
def converge() -> dict[str, Figure]:
    """Measure both; the slowest tasks of the last fresh and of the last second run go to build/bench/.

    Raises:
        subprocess.CalledProcessError: a machine, an installation or a deployment fails.
        RuntimeError: a second run changes something.
    """
    inventory = _inventory()
    _fresh()
    _deploy(inventory)  # warms the package cache and the wheelhouse; not measured
    packages = _on("apt-mark showmanual").split()
    fresh, again, installs = [], [], []
    for number in range(ROUNDS):
        _fresh()
        installs.append(stopwatch(lambda: _install(packages)))
        _fresh()
        fresh.append(stopwatch(lambda: _deploy(inventory)))
        _report(f"fresh-{number + 1}")
        again.append(stopwatch(lambda: _deploy(inventory)))
        changed = _report(f"again-{number + 1}")["changed"]
        if changed:
            raise RuntimeError(f"the second run changed {changed} tasks; see {PLACE}/again-{number + 1}.txt")
        print(
            f"round {number + 1}: {fresh[-1]:.1f} s; apt alone {installs[-1]:.1f} s; again {again[-1]:.1f} s",
            flush=True,
        )
    _machines("remove", NAME)
    notes = {"packages": len(packages), "load": os.getloadavg()[0]}
    return {"converge_fresh": Figure("s", fresh, installs, notes=notes), "converge_again": Figure("s", again)}


def _inventory() -> Path:
    """The local inventory's variables with the bench machine carrying every duty."""
    PLACE.mkdir(parents=True, exist_ok=True)
    link = PLACE / "group_vars"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "inventories/local/group_vars")
    groups = {name: {"hosts": {NAME: None}} for name in ("mailhosts", "databases", "portals")}
    file = PLACE / "hosts.yml"
    file.write_text(json.dumps(groups))  # JSON is YAML
    return file


def _fresh() -> None:
    _machines("remove", NAME)
    _machines("create", NAME)
    _on("systemctl is-system-running --wait; apt-get -q update")


def _install(packages: list[str]) -> None:
    _on(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends {' '.join(packages)}")


def _deploy(inventory: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_CALLBACKS_ENABLED": "sensmail.cloud.task_times",
        "SENSMAIL_TASK_TIMES": str(TIMES),
    }
    command = ["ansible-playbook", "-i", str(inventory), "playbooks/site.yml"]
    with (PLACE / "ansible.log").open("w") as log:
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _report(name: str) -> dict[str, Any]:
    """Keep the slowest tasks of the run that just ended, and return its totals."""
    run: dict[str, Any] = json.loads(TIMES.read_text(encoding="utf-8"))
    lines = [f"{run['seconds']:.1f} s, {len(run['tasks'])} tasks, changed={run['changed']}"]
    lines += [f"{task['seconds']:8.2f} s  {task['role']} : {task['name']}" for task in run["tasks"][:SLOWEST]]
    text = "\n".join(lines) + "\n"
    (PLACE / f"{name}.txt").write_text(text, encoding="utf-8")
    print(text, end="", flush=True)
    return run


def _on(command: str) -> str:
    ssh = ["ssh", "-F", str(ROOT / "build/machines/ssh_config"), NAME, command]
    return subprocess.run(ssh, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL).stdout


def _machines(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "machines", *words], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
