#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes of keys. The duty lies in sensmail.rotation.actions; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: key_rotation
short_description: Changes keys on the running system
version_added: 0.1.0
description:
  - Changes the epoch key, the keys of all persons, or the root key, or destroys replaced keys, while readers and
    writers go on.
  - A run that was cut off goes on where it was. Old keys end only when a census of every column finds no value that
    needs them, and, where the policy says so, with its approval.
  - Runs in the engine's environment (set C(ansible_python_interpreter)) on the host of the key service, as root.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
attributes:
  check_mode:
    details: Says what would be done and when each action is due. A database that is not there yet counts as a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
notes:
  - Every action but O(action=due) is a change each time it runs.
options:
  action:
    description:
      - V(due) carries out what the intervals of the policy make due and what needs no approval, and names the rest.
      - V(roll) makes a new epoch key over all keys of persons.
      - V(reseal) gives every person a new key, seals every value under it, and keeps the key before for restores only.
      - V(root) makes a new root key and destroys the one before.
      - V(destroy_replaced) destroys keys that were kept for restores, once the time that the policy sets is over.
    type: str
    required: true
    choices: [due, roll, reseal, root, destroy_replaced]
  reason:
    description: Why. Stands in the records.
    type: str
    default: playbook rotate_keys
  approval:
    description: Needed for V(root) and V(destroy_replaced).
    type: dict
    suboptions:
      role:
        description: The role that approved; the one that the policy names in C(art4.encryption.keys.approval).
        type: str
        required: true
      by:
        description: Name of the officer.
        type: str
        required: true
      reference:
        description: Where the approval is written down.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Whatever the policy makes due
  sensmail.cloud.key_rotation:
    action: due
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python

- name: The end of keys that only restores needed
  sensmail.cloud.key_rotation:
    action: destroy_replaced
    approval: {role: privacy_officer, by: 홍길동, reference: "개인정보보호-2026-17"}
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
lines:
  description: What was done or would be, and what is due when.
  type: list
  elements: str
  returned: success
  sample: ["roll: epoch 8 in every place; the one before is gone"]
result:
  description: Figures of the action; for V(reseal) the census by table, column and state.
  type: dict
  returned: when one action was asked for and carried out
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out

APPROVAL: dict[str, Any] = {
    "role": {"type": "str", "required": True},
    "by": {"type": "str", "required": True},
    "reference": {"type": "str", "required": True},
}
SPEC: dict[str, Any] = {
    "action": {"type": "str", "required": True, "choices": ["due", "roll", "reseal", "root", "destroy_replaced"]},
    "reason": {"type": "str", "default": "playbook rotate_keys"},
    "approval": {"type": "dict", "options": APPROVAL},
}


def ensure(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        RotationError, StoreError, KeyServiceError: named; run again to go on.
    """
    from sensmail.keyd.client import KeyService
    from sensmail.rotation import face

    with KeyService() as keys:
        return face.rotate(keys, **parameters, check=check)


def later(why: str) -> dict[str, Any]:
    """The result while there is no database."""
    return {"lines": [f"what is due shows once the database runs ({why})"]}


def main() -> None:
    """Entry point of Ansible."""
    carry_out(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), "key_rotation", ensure, later)


if __name__ == "__main__":
    main()
