#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of an action that needs no module on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_survey
short_description: Looks at a host that may have nothing but a shell
version_added: 0.1.0
description:
  - Asks, in one command over the connection, what has to be known before a role decides anything.
  - Sets the facts of M(ansible.builtin.setup) and M(ansible.builtin.package_facts) that the roles use, without Python
    on the host and in a fraction of their time. These are C(distribution), C(distribution_version),
    C(distribution_major_version), C(distribution_release), C(machine), C(memtotal_mb) and C(packages).
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  diff_mode:
    support: none
extends_documentation_fragment:
  - sensmail.cloud.attributes
"""

EXAMPLES = r"""
- name: What kind of host it is
  sensmail.cloud.host_survey:
  register: looked
"""

RETURN = r"""
survey:
  description: The answers as the host gave them.
  type: dict
  returned: success
  sample:
    addresses: [192.0.2.1]
    codename: trixie
    container: false
    engine: true
    epoch: 1767225600
    free_kb_root: 20971520
    free_kb_var: 20971520
    id: debian
    machine: x86_64
    memory_kb: 4194304
    name: Debian GNU/Linux 13 (trixie)
    python: true
    systemd: true
    version: "13"
"""
