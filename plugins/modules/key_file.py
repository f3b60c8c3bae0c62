#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root key and key file, made once on the host. The duty lies in sensmail.custody.setup; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: key_file
short_description: Makes the root key and the key file of a host, once
version_added: 0.1.0
description:
  - Makes a root key on the host, encrypted by systemd-creds, and with it an empty key file in every place. Neither ever
    leaves the host by way of Ansible.
  - Does so the first time only. C(/etc/sensmail/keys/initialised) remembers it; from then on a missing key file or root
    key is an error that says how to bring it back, and never a reason to make a new one.
  - An interrupted run is completed by the next one. A key file that holds keys is never touched.
  - The key file is made by C(sensmail-keyd-setup.service), with the account and the sandbox of the key service.
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
notes:
  - Secrets of a provider, such as the PIN of a token, are entered on the host. The error about a missing one says how.
options:
  places:
    description: Directories that each hold a whole copy, at least two; the first leads.
    type: list
    elements: path
    required: true
  provider:
    description: What holds the root key.
    type: str
    choices: [file, pkcs11, ncloud_kms]
    default: file
"""

EXAMPLES = r"""
- name: Root key and key file
  sensmail.cloud.key_file:
    places: [/var/lib/sensmail-keyd/ring, /mnt/second/ring]
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
steps:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
  sample: [make root key /etc/sensmail/keys/root/1, "make the key file in /mnt/first/ring, /mnt/second/ring"]
"""

from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.engine import carry_out

SPEC: dict[str, Any] = {
    "places": {"type": "list", "elements": "path", "required": True},
    "provider": {"type": "str", "choices": ["file", "pkcs11", "ncloud_kms"], "default": "file"},
}
SECRETS = {"file": (), "pkcs11": ("pkcs11-pin",), "ncloud_kms": ("ncloud-access-key", "ncloud-secret-key")}


def result(module: AnsibleModule, parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it, or say what would be done.

    Raises:
        KeyFailure: see sensmail.custody.setup.
    """
    from sensmail.custody.setup import Layout, ensure

    layout = Layout(tuple(map(Path, parameters["places"])), secrets=SECRETS[parameters["provider"]])
    if parameters["provider"] != "file":
        layout = Layout(layout.places, None, layout.secrets)
    outcome = ensure(layout, check=check)
    for finding in outcome.findings:
        module.warn(f"key_file: {finding}")
    after = "".join(f"{step}\n" for step in outcome.steps)
    return {"changed": bool(outcome.steps), "steps": outcome.steps, "diff": {"before": "", "after": after}}


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    carry_out(module, "key_file", partial(result, module))


if __name__ == "__main__":
    main()
