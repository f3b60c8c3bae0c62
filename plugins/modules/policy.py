#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name; nothing of it runs on a managed host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy
short_description: Checks the privacy policy on the controller and hands its values to every host
version_added: 0.1.0
description:
  - Reads C(group_vars/all/policy.yml) of the inventory as a file, so that every message has a line, and checks its
    shape, its sense and the floors of the law. All problems are reported in one message, each with file, line, clause,
    value and fix.
  - Refuses to go on when the variable C(policy) of any host of the inventory differs from the file, because a promise
    may not be overridden by C(host_vars), C(group_vars), a play or C(-e).
  - Sets the fact C(sensmail_policy) for all hosts of the play, with the stricter of policy and law for each promise.
  - Runs on the controller and connects to no host. Use it in a first play on all hosts, with C(run_once) and
    C(any_errors_fatal); the fact reaches every host of the play.
options:
  file:
    description:
      - The policy file. When left out, C(group_vars/all/policy.yml) beside the inventory, of which there must be one.
    type: path
  subjects:
    description:
      - Number of data subjects, where the law asks more from a number on (two years of access log from 50,000).
      - The jobs on the hosts compute again with the live number.
    type: int
    default: 0
requirements:
  - sensmail, installed in the virtual environment of the controller
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  action:
    description: Runs on the controller.
    support: full
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  facts:
    description: Sets a fact for every host of the play.
    support: full
"""

EXAMPLES = r"""
- name: The policy is sound
  hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Policy
      sensmail.cloud.policy:
      run_once: true
      tags: [always]

- name: Roles use the applied values
  hosts: mailhosts
  gather_facts: false
  vars:
    sensmail_policy: "{{ ansible_facts.sensmail_policy }}"
  tasks:
    - name: Show how long the access log is kept
      ansible.builtin.debug:
        msg: "{{ sensmail_policy.applied.access_log_retention_days }} days"
"""

RETURN = r"""
ansible_facts:
  description: Facts for all hosts of the play.
  returned: success
  type: dict
  contains:
    sensmail_policy:
      description: The policy as plain data.
      type: dict
      contains:
        promises:
          description: What the file says.
          type: dict
        applied:
          description: What is enforced, the stricter of policy and law. Days are on the safe side.
          type: dict
          sample: {access_log_retention: P1Y, access_log_retention_days: 366, region: KR}
        rules:
          description: Each promise beside the law, with the clause and the confidence of the source.
          type: list
          elements: dict
        findings:
          description: What an auditor should hear although the policy was accepted.
          type: list
          elements: dict
        data_map:
          description: Every column that holds a personal item.
          type: list
          elements: dict
        text:
          description: The file, byte for byte.
          type: str
        sha256:
          description: Digest of the file.
          type: str
        pages:
          description: The published page by language.
          type: dict
        style:
          description: Style sheet of the pages.
          type: str
        versions:
          description: Effective dates of this and the earlier versions.
          type: list
          elements: str
        archive:
          description: Pages of every version at permanent addresses, as files of M(sensmail.cloud.host_files).
          type: list
          elements: dict
file:
  description: The file that was read.
  returned: success
  type: str
findings:
  description: As in the fact.
  returned: success
  type: list
  elements: dict
"""
