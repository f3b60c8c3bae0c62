#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sealed columns. The duty lies in sensmail.rotation.protect; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: field_encryption
short_description: Brings columns with personal values to their protection
version_added: 0.1.0
description:
  - Seals values that are in clear, on the running system, in any PostgreSQL table of the server. Values that look
    sealed are opened by the key service to see that they are, and never sealed again.
  - Then no value in clear comes in any more (a constraint on each column), every value is counted by state, and the
    table is written anew, so that its files hold nothing in clear. The date of that is kept.
  - A run that was cut off goes on where it was. A value that cannot be sealed is named by its primary key and left as
    it is, all others are sealed, and the module fails.
  - Runs in the engine's environment (set C(ansible_python_interpreter)) on the host of the key service, as root.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
attributes:
  check_mode:
    details: Counts the values that would be sealed. A database that is not there yet counts as a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
notes:
  - Writing a table anew locks it; readers and writers wait. Set O(rewrite=false) to do that with another run.
  - Blocks that the file system took back, older WAL and backups may still hold values in clear.
options:
  columns:
    description:
      - Columns to seal. Left out, every sealed column of the data map in C(/etc/sensmail/policy.json).
      - The data map must have a sealed item of each field number, or the key service refuses.
    type: list
    elements: dict
    suboptions:
      database:
        description: Database on the engine's server. Left out, the engine's own.
        type: str
      login_role:
        description:
          - Role to log in as, under the operating-system user of the same name.
          - Triggers, constraints and generated columns of the table run with the rights of this role. Log in as
            C(postgres) only where you trust everybody who may define those; else log in as the table's owner.
        type: str
        default: sensmail-jobs
      table:
        description: Schema and table, such as V(public.customer). A name alone is a table of C(public).
        type: str
        required: true
      column:
        description: Column of type C(text), C(varchar) or C(bytea).
        type: str
        required: true
      subject:
        description: Column of the same table, of type C(uuid), with the id of the person.
        type: str
        required: true
      field:
        description: Permanent field number. Values are bound to it.
        type: int
        required: true
  rewrite:
    description: Write tables anew at the end. Without it no date is set.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Every column of the data map
  sensmail.cloud.field_encryption:
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python

- name: A table of another program on this server
  sensmail.cloud.field_encryption:
    columns:
      - {database: shop, login_role: postgres, table: public.customer, column: phone, subject: person_id, field: 40}
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
columns:
  description: One entry a column.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Database, table and column.
      type: str
    in_clear:
      description: Values that were in clear before this run. In check mode, those that are.
      type: int
    census:
      description: Values by state. Empty in check mode.
      type: dict
    protected_from:
      description: Since when the files of the table hold nothing in clear. Empty until it has been written anew.
      type: str
notes:
  description: Advice.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out

COLUMN: dict[str, Any] = {
    "database": {"type": "str"},
    "login_role": {"type": "str", "default": "sensmail-jobs"},
    "table": {"type": "str", "required": True},
    "column": {"type": "str", "required": True},
    "subject": {"type": "str", "required": True},
    "field": {"type": "int", "required": True},
}
SPEC: dict[str, Any] = {
    "columns": {"type": "list", "elements": "dict", "options": COLUMN},
    "rewrite": {"type": "bool", "default": True},
}


def ensure(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        RotationError, StoreError, KeyServiceError: named; run again to go on.
    """
    from sensmail.keyd.client import KeyService
    from sensmail.rotation import face

    with KeyService() as keys:
        return face.protect_columns(keys, parameters["columns"], rewrite=parameters["rewrite"], check=check)


def later(why: str) -> dict[str, Any]:
    """The result while there is no database."""
    return {"columns": [], "notes": [f"columns would be sealed once the database runs ({why})"]}


def main() -> None:
    """Entry point of Ansible."""
    carry_out(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), "field_encryption", ensure, later)


if __name__ == "__main__":
    main()
