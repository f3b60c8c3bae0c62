#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install a release of the engine. The duty lies in module_utils/release_store.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_release
short_description: Installs the privacy engine as a release of its own and makes it the current one
version_added: 0.1.0
description:
  - Builds a wheelhouse on the controller, from the hash lock of the host's Python and from the sources of this
    collection, and installs it on the host without any package index, below C(releases/<digest>).
  - The digest is that of lock and sources. When the host has it already, one round trip finds that out and nothing is
    built.
  - The link C(current) is flipped when the release is complete; the one before stays as C(previous), older ones go.
  - An interrupted run is completed by the next one.
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  check_mode:
    details: Nothing is built or sent.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  root:
    description: Directory of the host that holds the releases.
    type: path
    default: /opt/sensmail
  command:
    description: Link through which the command C(sensmail) is found.
    type: path
    default: /usr/local/bin/sensmail
  python:
    description: Python of the host from which the environment is made.
    type: path
    default: /usr/bin/python3
  digests:
    description: Digest of the release for each version of Python. Set by the action plugin.
    type: dict
  archive:
    description: Wheels and locked requirements on the host. Set by the action plugin.
    type: path
"""

EXAMPLES = r"""
- name: The engine runs from these sources
  sensmail.cloud.engine_release:
"""

RETURN = r"""
digest:
  description: Digest of the release that is, or would be, the current one.
  type: str
  returned: success
absent:
  description: Whether the release is not on the host yet.
  type: bool
  returned: success
version:
  description: Version of the host's Python.
  type: str
  returned: success
  sample: "3.13"
machine:
  description: Architecture of the host.
  type: str
  returned: success
  sample: x86_64
"""

import platform
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.release_store import ReleaseError, ReleaseStore, State

SPEC: dict[str, Any] = {
    "root": {"type": "path", "default": "/opt/sensmail"},
    "command": {"type": "path", "default": "/usr/local/bin/sensmail"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "digests": {"type": "dict"},
    "archive": {"type": "path"},
}


def python_version(python: str) -> str:
    """Major and minor version of an interpreter, for example 3.13.

    Raises:
        ReleaseError: it does not run.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([python, "-Ic", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReleaseError(f"{python} does not run ({error}): install the package python3") from error


def release(module: AnsibleModule) -> dict[str, Any]:
    """Bring the host to the release, as far as this call can without an archive.

    Raises:
        ReleaseError: no lock for this host, or the installation failed.
    """
    parameters = module.params
    version = python_version(parameters["python"])
    digest = (parameters["digests"] or {}).get(version)
    if digest is None:
        known = ", ".join(sorted(parameters["digests"] or {})) or "none"
        raise ReleaseError(f"no lock of the engine for Python {version} of this host (there are locks for: {known})")
    store = ReleaseStore(parameters["root"], parameters["command"], parameters["python"])
    before = store.state()
    absent = digest not in before.complete
    changed = absent or before.current != digest or bool(before.strays) or not before.linked
    if changed and not module.check_mode and not (absent and not parameters["archive"]):
        with store.lock():
            if absent:
                store.install(digest, parameters["archive"])
            store.activate(digest)
        absent = False
    return {
        "changed": changed,
        "digest": digest,
        "absent": absent,
        "version": version,
        "machine": platform.machine(),
        "diff": difference(before, digest) if changed else {},
    }


def difference(before: State, digest: str) -> dict[str, str]:
    """The release before and after."""
    return {"before": f"engine release {before.current or 'none'}\n", "after": f"engine release {digest}\n"}


def main() -> None:
    """Entry point of Ansible."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        module.exit_json(**release(module))
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=f"engine_release: {error}")


if __name__ == "__main__":
    main()
