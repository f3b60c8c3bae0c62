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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out


def result(_: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        StoreError: see sensmail.store.deploy.
    """
    from sensmail.store.deploy import deploy

    steps = deploy(check=check).steps
    after = "".join(f"{step}\n" for step in steps)
    return {"changed": bool(steps), "steps": steps, "diff": {"before": "", "after": after}}


def later(why: str) -> dict[str, Any]:
    """The result while there is no database."""
    return {"steps": [f"set up the database once its server runs ({why})"]}


def main() -> None:
    """Entry point of Ansible."""
    carry_out(AnsibleModule(argument_spec={}, supports_check_mode=True), "migrations", result, later)


if __name__ == "__main__":
    main()
