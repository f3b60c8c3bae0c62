#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep two runs off one host. Who may take the lock is decided in module_utils/run_holder.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Keeps two runs of Ansible off one host
version_added: 0.1.0
description:
  - Notes on the host which run of which controller is at work. Another run is refused, and told who, where, since when.
  - A note whose run has ended without removing it does not stand in the way of its own controller, which sees that the
    process is gone, and stands in the way of other controllers only for O(expires_seconds).
  - The note lies below C(/run) and is no part of what the host is meant to be, so taking it counts as no change.
  - In check mode nothing is noted, and a run that is at work is a warning.
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  diff_mode:
    support: none
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  state:
    description: Whether this run holds the lock, or gives it back.
    type: str
    choices: [held, released]
    default: held
  override:
    description: Take the lock whoever holds it.
    type: bool
    default: false
  expires_seconds:
    description: Age from which the note of another controller counts as left behind.
    type: int
    default: 3600
  path:
    description: File of the host with the note.
    type: path
    default: /run/sensmail-deploy/run.lock
  run:
    description: Set by the controller. Leave it out.
    type: dict
  ended:
    description: Set by the controller. Leave it out.
    type: dict
"""

EXAMPLES = r"""
- name: No other run is at work here
  sensmail.cloud.run_lock:

- name: The next run may come
  sensmail.cloud.run_lock:
    state: released
"""

RETURN = r"""
holder:
  description: The run that is at work, when it is not this one.
  type: dict
  returned: always
  sample: {controller: ops1, user: kim, pid: 4711, since: "2026-01-05T09:00:00+00:00"}
"""

import fcntl
import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.run_holder import free_for, same_run

SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
    "override": {"type": "bool", "default": False},
    "expires_seconds": {"type": "int", "default": 3600},
    "path": {"type": "path", "default": "/run/sensmail-deploy/run.lock"},
    "run": {"type": "dict"},
    "ended": {"type": "dict"},
}


def settle(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Take or give back the lock; the run that is in the way, if any.

    Raises:
        OSError: the note can be neither read nor written.
    """
    path, run = params["path"], params["run"]
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    # one file that is never unlinked, so that two runs that come at once lock the same one
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = _parse(file.read())
        age = time.time() - os.fstat(fd).st_mtime
        expired = params["override"] or not 0 <= age < params["expires_seconds"]
        free = free_for(run, holder, ended=params["ended"], expired=expired)
        if not free and params["state"] == "held":
            return {"holder": holder}
        ours = same_run(holder, run)
        if not check_mode and (params["state"] == "held" or ours):
            file.seek(0)
            file.truncate()
            file.write(json.dumps(run) if params["state"] == "held" else "")
    return {"holder": {}}


def _parse(text: str) -> dict[str, Any]:
    try:
        note = json.loads(text or "{}")
    except ValueError:  # half a note, of a host that went down while it was written
        return {}
    return note if isinstance(note, dict) else {}


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        result = settle(module.params, module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"run_lock: {module.params['path']}: {error.strerror}")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
