#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles, database and migrations of the engine. The duty lies in sensmail.store.deploy; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migrations
short_description: Brings the engine's database to the form that the installed engine needs
version_added: 0.1.0
description:
  - Makes the login roles and the database, grants what they need and no more, and applies pending migrations.
  - A migration is one transaction and is applied once. One that was edited afterwards, or that only a newer engine
    knows, is refused.
  - Runs in the engine's environment (set C(ansible_python_interpreter)), as root or as the user C(postgres).
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
attributes:
  check_mode:
    details: A server that cannot be reached yet counts as a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options: {}
"""

EXAMPLES = r"""
- name: Database of the engine
  sensmail.cloud.migrations:
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
steps:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
  sample: [create role dovecot (login), apply migration 0001_accounts.sql]
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from sensmail.store import StoreError, Unreachable
    from sensmail.store.deploy import deploy

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()


def result(check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        StoreError: see sensmail.store.deploy.
    """
    try:
        done = deploy(check=check)
    except Unreachable as error:
        if not check:
            raise
        return {"changed": True, "steps": [f"set up the database once its server runs ({error})"]}
    after = "".join(f"{step}\n" for step in done.steps)
    return {"changed": bool(done.steps), "steps": done.steps, "diff": {"before": "", "after": after}}


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("sensmail"), exception=IMPORT_ERROR)
    try:
        module.exit_json(**result(module.check_mode))
    except StoreError as error:
        module.fail_json(msg=f"migrations: {error}")


if __name__ == "__main__":
    main()
