# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long each task of a run took, as JSON, for `make bench` and for anybody who looks for the slow ones."""

from __future__ import annotations

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Writes how long each task took to a JSON file
version_added: 0.1.0
description:
  - Writes one JSON object with the totals of the run and its tasks, slowest first.
  - A task's time runs from its start to the last answer of a host. Does nothing while O(path) is empty.
author:
  - sensmail.cloud contributors (@sensmail)
options:
  path:
    description: File to write; what was there is replaced.
    type: path
    env:
      - name: SENSMAIL_TASK_TIMES
    ini:
      - section: callback_task_times
        key: path
requirements:
  - enable it in configuration (C(callbacks_enabled = sensmail.cloud.task_times))
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

COLLECTION = "sensmail.cloud."


@dataclass
class Task:
    """One task of the run; `seconds` covers all hosts."""

    name: str
    role: str
    where: str
    seconds: float = 0.0
    changed: int = 0
    skipped: int = 0


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core carries no types
    """Times tasks by their unique id: each host's answer moves the end of its task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sensmail.cloud.task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()
        self._starts: dict[str, float] = {}
        self._tasks: dict[str, Task] = {}

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002  Ansible's signature
        role = task._role.get_name() if task._role else ""
        self._starts[task._uuid] = time.monotonic()
        self._tasks[task._uuid] = Task(
            task.name or task.action, role.removeprefix(COLLECTION), str(task.get_path() or "")
        )

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result).changed += bool(result._result.get("changed"))

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result).skipped += 1

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002  likewise
        self._end(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end(result)

    def _end(self, result: Any) -> Task:
        task = self._tasks[result._task._uuid]
        task.seconds = round(time.monotonic() - self._starts[result._task._uuid], 3)
        return task

    def v2_playbook_on_stats(self, stats: Any) -> None:
        path = self.get_option("path")
        if not path:
            return
        hosts = sorted(stats.processed)
        sums = [stats.summarize(host) for host in hosts]
        totals = {key: sum(one[key] for one in sums) for key in ("ok", "changed", "failures", "unreachable", "skipped")}
        tasks = sorted(self._tasks.values(), key=lambda task: -task.seconds)
        seconds = round(time.monotonic() - self._start, 3)
        document = {"seconds": seconds, "hosts": hosts, **totals, "tasks": [asdict(task) for task in tasks]}
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
