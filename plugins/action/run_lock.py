# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell the host which run this is, and say of an earlier run of this controller whether it still lives."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.sensmail.cloud.plugins.modules.run_lock import SPEC

SET_HERE = ("run", "ended")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The controller's half of sensmail.cloud.run_lock."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take or give back the lock; once more when the run in the way is a dead one of this controller."""
        super().run(tmp, task_vars)
        own = {name: option for name, option in SPEC.items() if name not in SET_HERE}
        _, args = self.validate_argument_spec(argument_spec=own)
        args["run"] = this_run()
        result = self._call(args, task_vars)
        holder = result.get("holder")
        if holder and holder.get("controller_id") == args["run"]["controller_id"] and not alive(holder):
            result = self._call({**args, "ended": holder}, task_vars)
            holder = result.get("holder")
        if not holder:
            return result
        message = (
            "another run is at work on this host: {user} on {controller}, process {pid}, since {since}. Wait for its "
            "end; if it is certain that it has ended, repeat with -e preflight_lock_override=true".format_map(holder)
        )
        if self._task.check_mode:
            self._display.warning(f"{message}; what is shown may change under your eyes")
            return result
        return {**result, "failed": True, "msg": message}

    def _call(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="sensmail.cloud.run_lock", module_args=args, task_vars=task_vars
        )
        return result


def this_run() -> dict[str, Any]:
    """The run that this worker belongs to: its parent is the process that the operator started."""
    pid = os.getppid()
    return {
        "controller": socket.gethostname(),
        "controller_id": controller_id(),
        "user": os.environ.get("SUDO_USER") or getpass.getuser(),
        "pid": pid,
        "started": started(pid),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def controller_id() -> str:
    """What tells two controllers of the same name apart; the machine-id itself does not leave the machine."""
    try:
        seed = Path("/etc/machine-id").read_bytes() + Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        seed = socket.gethostname().encode()
    return hashlib.sha256(b"sensmail run_lock" + seed).hexdigest()[:32]


def started(pid: int) -> str:
    """When the process started, in ticks since the boot; empty where there is no such process (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def alive(holder: dict[str, Any]) -> bool:
    """True while the process of the note lives on this controller."""
    return bool(holder.get("started")) and started(int(holder["pid"])) == holder["started"]
