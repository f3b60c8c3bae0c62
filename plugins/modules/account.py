#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tenants, mailboxes and their owners, app passwords, aliases. The duty lies in sensmail.accounts; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account
short_description: Ensures tenants, mailboxes, personal items, app passwords and aliases
version_added: 0.1.0
description:
  - Brings everything listed to the stated form in one transaction; nothing changes when a part is refused.
  - What is not listed is left alone. A mailbox belongs to the tenant of its domain.
  - A new mailbox takes its id and key from the key service, which seals personal items before they reach the database.
  - Runs in the engine's environment (set C(ansible_python_interpreter)) on a database host, as root.
  - The database session is that of the role C(sensmail-jobs). To the key service the caller is C(session), which the
    policy lists.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
  - the key service (role keys), for new mailboxes and personal items
attributes:
  check_mode:
    details: No app password and no key is made, and nothing is sealed. A database that is not there yet is a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
notes:
  - RV(issued) holds new app passwords in clear, once. Set C(no_log) on the task and hand them over from the registered
    result.
  - Personal items never appear in a result, a diff or a log of this module; the diff says C(sealed). Keep the inventory
    that holds them in a vault.
options:
  tenants:
    description: Institutions with their mail domains.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the institution.
        type: str
        required: true
      domains:
        description: Mail domains it brings. A domain that is not listed any more stays.
        type: list
        elements: str
        default: []
      contract_start:
        description: First day of the contract, such as V(2026-01-01). Left out, it stays as it is.
        type: str
      contract_end:
        description:
          - Last day of the contract. Mailboxes work until the end of that day in Korea. Left out, it stays as it is.
        type: str
  accounts:
    description: Mailboxes.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Mail address. Letters, digits, dots, underscores and hyphens before the C(@).
        type: str
        required: true
      state:
        description: V(absent) retires the person. The mailbox stops at once; the data goes when the policy says so.
        type: str
        choices: [present, absent]
        default: present
      quota:
        description: Size of the mailbox, in bytes or with K, M, G or T. A new mailbox has 5G.
        type: str
      send_limit_per_hour:
        description: Mails that may be sent in an hour. A new mailbox has 200.
        type: int
      password:
        description: Account password, for the portal. It never works on IMAP or SMTP.
        type: str
      update_password:
        description: Whether a password that differs from the stored one replaces it.
        type: str
        choices: [on_create, always]
        default: on_create
      name:
        description: Name of the owner. Sealed, as are the next four.
        type: str
      emergency_email:
        description: Address that codes and links are sent to. Another one than the mailbox itself.
        type: str
      department:
        description: Department.
        type: str
      position:
        description: Position.
        type: str
      employee_number:
        description: Employee number.
        type: str
      update_sealed:
        description:
          - V(on_create) writes a personal item only where none is stored yet.
          - V(always) replaces what is stored and reports a change every time, for values are not opened to be compared.
        type: str
        choices: [on_create, always]
        default: on_create
      app_passwords:
        description: Passwords for mail programs, one a device. Those that are not listed stay.
        type: list
        elements: dict
        default: []
        suboptions:
          label:
            description: Name of the device.
            type: str
            required: true
          scope:
            description: Protocols that it opens.
            type: list
            elements: str
            choices: [imap, pop3, sieve, smtp]
            default: [imap, smtp]
          expires:
            description:
              - Last day, or moment with time zone, at which it works.
              - Left out, it stays as it is; a new one never expires.
            type: str
          state:
            description: V(absent) revokes it.
            type: str
            choices: [present, absent]
            default: present
  aliases:
    description: Addresses without a mailbox.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Address of the alias, in a domain of a tenant.
        type: str
        required: true
      targets:
        description: Every address that its mail goes to. An empty list removes the alias.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Two mailboxes, one of them for a phone
  sensmail.cloud.account:
    tenants:
      - {name: 센스메일, domains: [sensmail.test]}
    accounts:
      - address: operator@sensmail.test
        name: 담당자
        emergency_email: operator@elsewhere.test
        app_passwords:
          - {label: phone, scope: [imap, smtp], expires: "2027-12-31"}
      - {address: former@sensmail.test, state: absent}
    aliases:
      - {address: postmaster@sensmail.test, targets: [operator@sensmail.test]}
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
  no_log: true
  register: result
"""

RETURN = r"""
issued:
  description: New app passwords, each with C(address), C(label), C(selector) and, in clear, C(password). A secret.
  type: list
  elements: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out

PRESENCE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
APP_PASSWORD: dict[str, Any] = {
    "label": {"type": "str", "required": True},
    "scope": {
        "type": "list",
        "elements": "str",
        "choices": ["imap", "pop3", "sieve", "smtp"],
        "default": ["imap", "smtp"],
        "no_log": False,
    },
    "expires": {"type": "str"},
    "state": PRESENCE,
}
SEALED = ("name", "emergency_email", "department", "position", "employee_number")
ACCOUNT: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "state": PRESENCE,
    "quota": {"type": "str"},
    "send_limit_per_hour": {"type": "int"},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    **{item: {"type": "str", "no_log": True} for item in SEALED},
    "update_sealed": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "app_passwords": {"type": "list", "elements": "dict", "default": [], "options": APP_PASSWORD, "no_log": False},
}
TENANT: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "domains": {"type": "list", "elements": "str", "default": []},
    "contract_start": {"type": "str"},
    "contract_end": {"type": "str"},
}
ALIAS: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "targets": {"type": "list", "elements": "str", "default": []},
}
SPEC: dict[str, Any] = {
    "tenants": {"type": "list", "elements": "dict", "default": [], "options": TENANT},
    "accounts": {"type": "list", "elements": "dict", "default": [], "options": ACCOUNT},
    "aliases": {"type": "list", "elements": "dict", "default": [], "options": ALIAS},
}


def ensure(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        AccountError, StoreError, KeyServiceError: what was asked for cannot be done; nothing was changed.
    """
    from sensmail import accounts
    from sensmail.store import connect

    wanted = accounts.wanted(**parameters)
    with connect(accounts.ROLE) as connection:
        outcome = accounts.ensure(connection, wanted, check=check)
    return {
        "changed": bool(outcome.changes),
        "diff": {"before": outcome.before, "after": outcome.after},
        "issued": [
            {"address": new.address, "label": new.label, "selector": new.selector, "password": new.token}
            for new in outcome.issued
        ],
    }


def later(why: str) -> dict[str, Any]:
    """The result while there is no database."""
    return {"issued": [], "msg": f"accounts would follow once the database runs ({why})"}


def invocation(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they may be shown."""
    shown = [
        {key: "hidden" if value is not None and ACCOUNT[key].get("no_log") else value for key, value in account.items()}
        for account in parameters["accounts"]
    ]
    return {"module_args": parameters | {"accounts": shown}}


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    shown = invocation(module.params)
    # Ansible would cut every hidden value out of every text: an employee number 7 out of each new app password. What is
    # returned holds none of them, so nothing needs cutting.
    module.no_log_values = set()
    carry_out(module, "account", ensure, later, invocation=shown)


if __name__ == "__main__":
    main()
