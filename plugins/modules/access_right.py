#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access rights with their records. The duty lies in sensmail.rights; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_right
short_description: Grants, changes and revokes an access right, and records it in the same act
version_added: 0.1.0
description:
  - Applies one right where it lives and enters it in the register of access rights (접근권한 관리대장) and the ledger.
  - The intention is recorded first, then the right is applied, then its completion is recorded. A run that was cut off
    is finished or taken back by the next one, so that no right is without a record.
  - Runs in the engine's environment (set C(ansible_python_interpreter)) on the host where the right lives, as root.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
  - role rights, which also lets sshd read the keys of operators
attributes:
  check_mode:
    details:
      - Says what would be done, and refuses what would be refused. That an account must be there before what rests on
        it is not asked. A database that is not there yet is a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
notes:
  - Removing a right needs a reason, but no approval, for it must not wait.
  - Operators have no password. Their keys lie in a directory of root, and sshd takes them from nowhere else.
options:
  state:
    description:
      - V(present) grants the right, or changes it to these terms. V(absent) revokes it, and first what rests on it.
      - V(absent) also ends, and records, a right that was found without a record.
    type: str
    choices: [present, absent]
    default: present
  kind:
    description:
      - V(operator) is an account of the host with SSH keys. V(sudo) is what it may do as root.
      - V(database) is membership in a role of PostgreSQL that reads, by peer. V(portal) is a role of the portal.
      - V(sudo) and V(database) are for accounts that are operators.
    type: str
    required: true
  holder:
    description: Name of the person. Needed for O(state=present).
    type: str
  account:
    description: Login name; for the portal the mail address. The holder when left out.
    type: str
  right:
    description:
      - For V(database) the role, such as V(sensmail_auditor). For V(portal) V(tenant_admin) or V(privacy_officer).
      - Operators and sudo have one right each.
    type: str
  scope:
    description:
      - Tenant of a role of the portal. Otherwise the host or database, as a safeguard against running elsewhere.
    type: str
  public_keys:
    description: Public SSH keys of an operator, as in a C(.pub) file. No others open the account.
    type: list
    elements: str
  commands:
    description: Commands of a sudo right with their arguments, without wildcards, or V(ALL).
    type: list
    elements: str
  until:
    description:
      - Last day, such as V(2027-01-31), or a moment with its time zone. Needed for O(state=present).
      - At most as far away as C(art4.access_rights.holders.longest) of the policy says.
    type: str
  reason:
    description: Why. Stands in the register and the ledger.
    type: str
    required: true
  approval:
    description: Needed to grant or change, not where nothing changes. Never of the holder.
    type: dict
    suboptions:
      role:
        description: The role that approved; the one that the policy names in C(art4.access_rights.holders.approval).
        type: str
        required: true
      by:
        description: Name of who approved.
        type: str
        required: true
      reference:
        description: Where the approval is written down.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: An operator who may restart nginx
  sensmail.cloud.access_right:
    kind: "{{ item.kind }}"
    holder: 김운영
    account: kim
    public_keys: "{{ item.public_keys | default(omit) }}"
    commands: "{{ item.commands | default(omit) }}"
    until: "2027-06-30"
    reason: operation of the web server
    approval: {role: privacy_officer, by: 이책임, reference: "권한신청-2026-031"}
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
  loop:
    - kind: operator
      public_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJs2V0GIhlwqAzsvy1QWGHtQmMYDcpPWx9B6dWRHs1yM kim]
    - {kind: sudo, commands: [/usr/bin/systemctl restart nginx.service]}

- name: He has moved to another department
  sensmail.cloud.access_right: {state: absent, kind: operator, account: kim, reason: moved to another department}
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
lines:
  description: What was done or would be, what an earlier run had left unfinished included.
  type: list
  elements: str
  returned: success
  sample: ["granted: operator kim on mail: login"]
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
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "kind": {"type": "str", "required": True},
    "holder": {"type": "str"},
    "account": {"type": "str"},
    "right": {"type": "str"},
    "scope": {"type": "str"},
    "public_keys": {"type": "list", "elements": "str"},
    "commands": {"type": "list", "elements": "str"},
    "until": {"type": "str"},
    "reason": {"type": "str", "required": True},
    "approval": {"type": "dict", "options": APPROVAL},
}


def ensure(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        RightsError, AccountError, LedgerError, StoreError: named, with the fix.
    """
    from sensmail import rights

    return rights.change(parameters, check=check)


def later(why: str) -> dict[str, Any]:
    """The result while there is no database."""
    return {"lines": [f"the right would follow once the database runs ({why})"]}


def main() -> None:
    """Entry point of Ansible."""
    carry_out(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), "access_right", ensure, later)


if __name__ == "__main__":
    main()
