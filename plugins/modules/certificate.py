#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give a host its key and certificate. The duty lies in module_utils/certificate_*.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Gives a host its key and certificate
version_added: 0.1.0
description:
  - Makes a certificate authority of the host's own and lets it sign, or takes over what the operator supplies.
  - Leaves C(fullchain.pem) and C(key.pem) in O(directory), and of an own authority C(ca.pem), for clients to trust.
  - Renews before the end, when the names change, and when the files do not belong together.
  - What the operator supplies is checked before anything is replaced. Key and certificate have to belong together, the
    chain has to be complete in its order, valid now, and for every name.
requirements: [cryptography >= 42]
author:
  - sensmail.cloud contributors (@sensmail)
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  source:
    description: Who signs.
    type: str
    choices: [own_ca, files]
    required: true
  directory:
    description: Directory of the host with what services read.
    type: path
    required: true
  ca_directory:
    description: Directory of the host with the key of its own authority.
    type: path
    default: /etc/sensmail/ca
  names:
    description: Names and addresses that clients ask for, the host's own name first.
    type: list
    elements: str
    required: true
  group:
    description: Group that may read the key.
    type: str
    default: ssl-cert
  valid_days:
    description: Life of a certificate that the own authority signs.
    type: int
    default: 397
  renew_before_days:
    description: How long before its end a certificate of the own authority is replaced.
    type: int
    default: 30
  chain:
    description: With O(source=files), the certificate and those between it and the authority, in PEM.
    type: str
  key:
    description: With O(source=files), the private key in PEM, without a passphrase.
    type: str
"""

EXAMPLES = r"""
- name: Key and certificate
  sensmail.cloud.certificate:
    source: own_ca
    directory: /etc/sensmail/tls
    names: [mx.example.kr, mta-sts.example.kr]
  vars:
    ansible_python_interpreter: /opt/sensmail/current/bin/python
"""

RETURN = r"""
reasons:
  description: Why files were written, or would be.
  type: list
  elements: str
  returned: success
not_after:
  description: End of the certificate that is served.
  type: str
  returned: when there is one
"""

import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.sensmail.cloud.plugins.module_utils.certificate_store import Store, Wanted, write
    from ansible_collections.sensmail.cloud.plugins.module_utils.certificate_x509 import (
        CertificateError,
        Pair,
        load_chain,
    )

    MISSING = ""
except ImportError:
    MISSING = traceback.format_exc()

SPEC: dict[str, Any] = {
    "source": {"type": "str", "choices": ["own_ca", "files"], "required": True},
    "directory": {"type": "path", "required": True},
    "ca_directory": {"type": "path", "default": "/etc/sensmail/ca"},
    "names": {"type": "list", "elements": "str", "required": True},
    "group": {"type": "str", "default": "ssl-cert"},
    "valid_days": {"type": "int", "default": 397},
    "renew_before_days": {"type": "int", "default": 30},
    "chain": {"type": "str"},
    "key": {"type": "str", "no_log": True},
}


def run(params: dict[str, Any], check_mode: bool, now: datetime) -> dict[str, Any]:
    """Everything but Ansible.

    Raises:
        CertificateError: nothing was replaced.
    """
    days = {name: timedelta(days=params[f"{name}_days"]) for name in ("valid", "renew_before")}
    wanted = Wanted(tuple(params["names"]), now, days["valid"], days["renew_before"])
    store = Store(Path(params["directory"]), Path(params["ca_directory"]))
    if params["source"] == "own_ca":
        change = store.own_ca(wanted)
    else:
        change = store.files(Pair(params["key"].encode(), params["chain"].encode()), wanted)
    if not check_mode:
        write(change, params["group"])
    served = Path(params["directory"], "fullchain.pem")
    result: dict[str, Any] = {"changed": bool(change.files), "reasons": change.reasons}
    result["diff"] = [{"before": "", "after": "".join(f"{path}\n" for path in change.files)}] if change.files else []
    if served.exists():
        result["not_after"] = load_chain(served.read_bytes())[0].not_valid_after_utc.isoformat()
    return result


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(
        argument_spec=SPEC, supports_check_mode=True, required_if=[("source", "files", ("chain", "key"))]
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=MISSING)
    if not module.params["names"]:
        module.fail_json(msg="certificate: names is empty: list the host's own name first")
    try:
        result = run(module.params, module.check_mode, datetime.now(UTC))
    except (CertificateError, OSError) as error:
        module.fail_json(msg=f"certificate: {error}")
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
