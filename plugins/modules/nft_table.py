#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Own one table of nftables. The duty lies in module_utils/nft_*.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: Owns one table of nftables, and takes a change back that locks the operator out
version_added: 0.1.0
description:
  - Makes one table say exactly what the ruleset says, in one transaction. Other tables are never touched.
  - What is in force is compared, not what was written last, so a table that somebody changed by hand is put right.
    Elements that traffic adds to a dynamic set, and counters, do not count as a difference.
  - The ruleset is first loaded in a network namespace of its own, where no packet passes.
  - A change has to be confirmed. The host arms a timer that puts the former table back, then the change is applied, and
    then the controller opens a new connection, because one that was open before proves nothing. Only when that
    succeeds is the timer stopped and the ruleset written to O(path). When it does not, the host goes back by itself.
  - When a run is interrupted in between, the host goes back as well, and the next run makes the change again.
author:
  - sensmail.cloud contributors (@sensmail)
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  table:
    description: Family and name of the table.
    type: str
    required: true
  ruleset:
    description: Definition of the table in the language of nft(8).
    type: str
    required: true
  path:
    description:
      - File of the host that receives the confirmed ruleset, for a unit that loads it when the machine starts.
      - It replaces the table when it is loaded, so it may be loaded twice.
    type: path
    required: true
  confirm_seconds:
    description: How long a change stays without confirmation.
    type: int
    default: 30
  phase:
    description: Used between the controller and the host. Leave it out.
    type: str
    choices: [look, apply, confirm]
    default: look
"""

EXAMPLES = r"""
- name: The table of the firewall
  sensmail.cloud.nft_table:
    table: inet sensmail
    ruleset: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
    path: /etc/sensmail/firewall.nft
"""

RETURN = r"""
pending:
  description: Whether the rules in force have to change.
  type: bool
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.nft_host import Host, installed, read, write
from ansible_collections.sensmail.cloud.plugins.module_utils.nft_ruleset import NftError, Table

SPEC: dict[str, Any] = {
    "table": {"type": "str", "required": True},
    "ruleset": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "confirm_seconds": {"type": "int", "default": 30},
    "phase": {"type": "str", "choices": ["look", "apply", "confirm"], "default": "look"},
}


def look(host: Host, params: dict[str, Any], content: str, check_mode: bool) -> dict[str, Any]:
    """What has to change. Writes the file when only that is out of date.

    Raises:
        NftError: the ruleset is refused.
    """
    wanted = host.wanted(params["ruleset"])
    pending = host.live() != wanted or host.armed()
    stale = read(params["path"]) != content
    if stale and not pending and not check_mode:
        write(params["path"], content)
    result: dict[str, Any] = {"changed": pending or stale, "pending": pending}
    if pending:
        header = {"before_header": f"table {host.table}", "after_header": f"table {host.table}"}
        result["diff"] = [{**header, "before": host.listing(), "after": host.preview(params["ruleset"])}]
    elif stale:
        result["diff"] = [{"before_header": params["path"], "before": read(params["path"]) or "", "after": content}]
    return result


def confirm(host: Host, params: dict[str, Any], content: str) -> dict[str, Any]:
    """Keep the change.

    Raises:
        NftError: it was taken back already.
    """
    in_time = host.armed()
    host.disarm()
    if not in_time or host.live() != host.wanted(params["ruleset"]):
        raise NftError("the confirmation came too late: the host has put its former table back")
    write(params["path"], content)
    return {"changed": True, "pending": False}


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    try:
        host = Host(Table.parse(params["table"]))
        content = f"# Managed by Ansible, changes are overwritten\n{host.table.replacement(params['ruleset'])}"
        if not installed():
            if not module.check_mode:
                raise NftError("/usr/sbin/nft is missing: install the package nftables in an earlier task")
            module.exit_json(changed=True, pending=True, diff=[{"before": "", "after": params["ruleset"]}])
        if params["phase"] == "look":
            result = look(host, params, content, module.check_mode)
        elif params["phase"] == "apply":
            host.replace(params["ruleset"], params["confirm_seconds"])
            result = {"changed": True, "pending": True}
        else:
            result = confirm(host, params, content)
    except (NftError, OSError) as error:
        module.fail_json(msg=f"nft_table {params['table']}: {error}")
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
