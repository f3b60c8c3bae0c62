#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Export, verification and deletion of records. The duty lies in sensmail.records.face; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: records
short_description: Exports, verifies and prunes the access log and the governance ledger
version_added: 0.1.0
description:
  - Writes a bundle of the ledgers, verifies one, or deletes the records whose time is over.
  - Runs in the engine's environment (set C(ansible_python_interpreter)) on the host of the database, as root.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
attributes:
  check_mode:
    details: An export that would be written and deletions that would be made are said; verification changes nothing.
  diff_mode:
    details: Shows which partitions go.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  action:
    description:
      - V(export) records the export and writes O(path), which must not exist.
      - V(verify) reads O(path) and fails where anything is wrong, missing or not proven.
      - V(prune) deletes whole months whose time is over, up to a size that a witness has cosigned.
    type: str
    required: true
    choices: [export, verify, prune]
  path:
    description: The bundle, on the host. Needed for V(export) and V(verify).
    type: path
  reason:
    description: Why. Stands in the records. Needed for V(export).
    type: str
  log_keys:
    description: Verifier keys of the logs, which should not come from the host.
    type: list
    elements: str
    default: []
    no_log: false
  witness_keys:
    description: Verifier keys of the witnesses.
    type: list
    elements: str
    default: []
    no_log: false
"""

EXAMPLES = r"""
- name: Records whose time is over go
  sensmail.cloud.records:
    action: prune
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python

- name: A bundle for the yearly audit
  sensmail.cloud.records:
    action: export
    path: /root/records-2026.zip
    reason: yearly audit 2026
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
lines:
  description: What was done or would be, what stays and why.
  type: list
  elements: str
  returned: success
  sample: ["access 2025-11 (records 0 to 4711) is gone: last sealed 2025-11-30, kept 366 days, due 2026-12-01"]
result:
  description: Figures of the action; for V(verify) the whole result.
  type: dict
  returned: success
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from psycopg import Error as DatabaseError

    from sensmail.records import face
    from sensmail.records.errors import RecordsError
    from sensmail.store import StoreError

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

SPEC: dict[str, Any] = {
    "action": {"type": "str", "required": True, "choices": ["export", "verify", "prune"]},
    "path": {"type": "path"},
    "reason": {"type": "str"},
    "log_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "witness_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
}
NEEDED = [("action", "export", ["path", "reason"]), ("action", "verify", ["path"])]


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec=SPEC, required_if=NEEDED, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("sensmail"), exception=IMPORT_ERROR)
    try:
        done = face.act(**module.params, check=module.check_mode)
    except (RecordsError, StoreError, DatabaseError, OSError) as error:
        module.fail_json(msg=f"records: {error}")
    if done.pop("failed", False):
        module.fail_json(msg=f"records: {done['lines'][-1]}", **done)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
