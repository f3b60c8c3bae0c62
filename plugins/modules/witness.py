#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys and store of a witness, made once. The duty lies in sensmail.records.witness.setup; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: witness
short_description: Makes the keys and the store of a witness, once
version_added: 0.1.0
description:
  - Makes the signing key of a witness and the key of its connections on the host, encrypted by systemd-creds. Neither
    ever leaves the host; what is public of them is returned.
  - Makes a file for each log, to which the kernel lets nobody do anything but add (C(chattr +a)), where it can.
  - A key that is missing although notes are there is an error that says how to bring it back, and never a reason to
    make a new one.
  - Runs in the engine's environment (set C(ansible_python_interpreter)), as root.
author:
  - sensmail.cloud contributors (@sensmail)
requirements:
  - sensmail (role engine installs it)
attributes:
  check_mode:
    details: Directories that an earlier task would make may be missing.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  name:
    description: Name of the witness, which stands in every cosignature.
    type: str
    required: true
  logs:
    description: Verifier keys of the logs that it watches.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Keys and store
  sensmail.cloud.witness:
    name: witness.example.go.kr
    logs: ["mail.example.go.kr/records/access/1/00112233445566778899aabbccddeeff+0a1b2c3d+AaBb…"]
  register: __witness
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
key:
  description: Verifier key of the witness, for publishers and auditors.
  type: str
  returned: when it is there
certificate:
  description: SHA-256 of its certificate, in hexadecimal, which publishers pin.
  type: str
  returned: when it is there
steps:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out

SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "logs": {"type": "list", "elements": "str", "default": [], "no_log": False},
}


def result(module: AnsibleModule, parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        WitnessFailure: see sensmail.records.witness.setup, or the disk refuses.
    """
    from sensmail.records.witness.errors import WitnessFailure
    from sensmail.records.witness.setup import ensure

    try:
        outcome = ensure(parameters["name"], parameters["logs"], check=check)
    except OSError as error:
        raise WitnessFailure(str(error)) from error
    for finding in outcome.findings:
        module.warn(f"witness: {finding}")
    after = "".join(f"{step}\n" for step in outcome.steps)
    told = {"changed": bool(outcome.steps), "steps": outcome.steps, "diff": {"before": "", "after": after}}
    if outcome.public:
        told |= {"key": outcome.public.key, "certificate": outcome.public.certificate}
    return told


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    carry_out(module, "witness", partial(result, module))


if __name__ == "__main__":
    main()
