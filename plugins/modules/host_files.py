#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Own a set of files on a host. The duty lies in module_utils/file_*.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Renders a tree of templates and owns exactly those files on a host
version_added: 0.1.0
description:
  - Renders the C(templates) tree of the calling role, sends it in one call, and makes the host agree with it.
    The path of a file below C(templates) is its path on the host. A file that ends in C(.j2) is a template and loses
    that suffix; every other file is sent as it is. A first directory whose name begins with C(_) is not sent; templates
    include from there, as in C({% include '_parts/tls.j2' %}).
  - Templates know the variables of the task, C(ansible_managed), C(template_path) and C(template_destpath).
    As in M(ansible.builtin.template), the newline after a block is removed.
  - What is no longer listed is removed, but only where an earlier run put it. A file that stood on the host before it
    was first replaced, such as the configuration that a package brings, is kept and put back.
  - New files are tried by the programs concerned before any old one is replaced; see O(validate).
  - Each file is replaced in one act and flushed to the disk. A run that is interrupted is completed by the next one.
  - A sysusers.d file in the tree takes effect at once, so that other files of the same tree can belong to its accounts.
  - No symbolic link is followed, neither at a path nor on the way to it. A link at the path itself is replaced.
notes:
  - One task writes one claim. A second task with the same claim would remove what the first one put; give it a O(claim)
    of its own.
  - A validator is kept from changing the directories that change here, but nothing else. Choose one that only reads.
    Its words are shown when it refuses, so it should not repeat the content of secret files.
  - Files with O(table[].secret) are refused without pipelining, which alone carries them past the controller's disk.
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  check_mode:
    details: Also on a host where packages, accounts or directories are still missing.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  claim:
    description: Name under which the files are owned. Two claims never own one path. The role's name when left out.
    type: str
  src:
    description:
      - Directory with the tree, absolute or relative to the role. C(templates) of the role when left out.
    type: path
  table:
    description:
      - Exceptions from C(root), C(root), C(0644). Of several rows that match a file, the later wins, option by option.
      - A row that matches no file of the tree is an error, because the file it was meant for would be left open to all.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path on the host, a glob in which C(*) matches C(/) too.
        type: str
        required: true
      owner:
        description: User.
        type: str
      group:
        description: Group.
        type: str
      mode:
        description: Four octal digits in quotes.
        type: str
      secret:
        description: Whether the content is left out of differences.
        type: bool
      when:
        description: Whether the file is wanted at all. One that is not wanted is not rendered either.
        type: bool
  directories:
    description:
      - Directories to have. Those above a file that are not listed are made as C(root), C(root), C(0755).
      - A directory that is no longer listed is removed only if it was made here and is empty.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path on the host.
        type: str
        required: true
      owner:
        description: User.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
      mode:
        description: Four octal digits in quotes.
        type: str
        default: "0755"
  validate:
    description:
      - Programs that must accept the new files. They run in a private mount namespace, where the new files stand at
        their real paths and the removed ones are gone. If one refuses, nothing is replaced, and its words are in the
        message.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The command runs when a path that matches this glob changes.
        type: str
        required: true
      command:
        description: The program and its arguments. One that is not installed is passed over in check mode only.
        type: list
        elements: str
        required: true
  files:
    description: Further files, besides those of the tree. This is also how the rendered tree reaches the host.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path on the host.
        type: str
        required: true
      content:
        description: The content in base64.
        type: str
        required: true
      owner:
        description: User.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
      mode:
        description: Four octal digits in quotes.
        type: str
        default: "0644"
      secret:
        description: Whether the content is left out of differences.
        type: bool
        default: false
  manifest_dir:
    description: Directory of the host with one manifest a claim, which says what the claim owns.
    type: path
    default: /var/lib/sensmail/manifest
  original_dir:
    description: Directory of the host with copies of what was there before.
    type: path
    default: /var/lib/sensmail/original
"""

EXAMPLES = r"""
- name: Postfix files
  sensmail.cloud.host_files:
    table:
      - {path: /etc/postfix/sql/*, group: postfix, mode: "0640", secret: true}
      - {path: /etc/postfix/relay.cf, when: "{{ postfix_relay_enabled }}"}
    directories:
      - {path: /var/lib/relay, owner: postfix, group: postfix, mode: "0750"}
    validate:
      - {path: /etc/postfix/*, command: [postfix, check]}

- name: Let go of everything that a former role owned
  sensmail.cloud.host_files:
    claim: former_role
    src: "{{ role_path }}/files/nothing"
"""

RETURN = r"""
files:
  description: SHA-256 of every file that the claim owns, by path; C(null) for a secret one.
  type: dict
  returned: success
  sample: {/etc/postfix/main.cf: 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9}
written:
  description: Paths that were made or changed, or would be.
  type: list
  elements: str
  returned: success
removed:
  description: Paths that were removed, or put back to what stood there before, or would be.
  type: list
  elements: str
  returned: success
"""

import base64
import binascii
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.file_accounts import declared
from ansible_collections.sensmail.cloud.plugins.module_utils.file_diff import make_diff
from ansible_collections.sensmail.cloud.plugins.module_utils.file_host import (
    Hands,
    canonical,
    known_accounts,
    look,
    refuse_unknown_owners,
    sweep,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import (
    HostFilesError,
    Manifest,
    Wanted,
    WantedFile,
    checked_attrs,
    checked_claim,
    checked_path,
    parents,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Plan, make_plan, refuse_conflicts
from ansible_collections.sensmail.cloud.plugins.module_utils.file_preview import Validator, concerned, preview
from ansible_collections.sensmail.cloud.plugins.module_utils.file_store import Store

OWNED = {"owner": {"type": "str", "default": "root"}, "group": {"type": "str", "default": "root"}}
SPEC: dict[str, Any] = {
    "claim": {"type": "str"},
    "src": {"type": "path"},
    "table": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str"},
            "secret": {"type": "bool", "no_log": False},
            "when": {"type": "bool"},
        },
    },
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "str", "required": True}, **OWNED, "mode": {"type": "str", "default": "0755"}},
    },
    "validate": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "command": {"type": "list", "elements": "str", "required": True},
        },
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},  # kept out of the host's journal
            **OWNED,
            "mode": {"type": "str", "default": "0644"},
            "secret": {"type": "bool", "default": False, "no_log": False},
        },
    },
    "manifest_dir": {"type": "path", "default": "/var/lib/sensmail/manifest"},
    "original_dir": {"type": "path", "default": "/var/lib/sensmail/original"},
}


def wanted_from(params: dict[str, Any]) -> Wanted:
    """Read the options.

    Raises:
        HostFilesError: an option is unsafe, malformed, or names a path twice.
    """
    if not params["claim"] or params["src"] or params["table"]:
        raise HostFilesError(
            "src, table and the default of claim are read on the controller: call it as sensmail.cloud.host_files"
        )
    files: dict[str, WantedFile] = {}
    for row in params["files"]:
        path = checked_path(row["path"])
        if path in files:
            raise HostFilesError(f"{path} is listed twice: in `files` and in the tree, or as x and as x.j2")
        attrs = canonical(checked_attrs(path, row["owner"], row["group"], row["mode"]))
        try:
            files[path] = WantedFile(base64.b64decode(row["content"], validate=True), attrs, row["secret"])
        except binascii.Error as error:
            raise HostFilesError(f"content of {path} is not base64 ({error}): use the filter b64encode") from error
    directories = {}
    for row in params["directories"]:
        path = checked_path(row["path"])
        if path in directories:
            raise HostFilesError(f"directory {path} is listed twice")
        directories[path] = canonical(checked_attrs(path, row["owner"], row["group"], row["mode"]))
    return Wanted(checked_claim(params["claim"]), files, directories)


def look_and_plan(wanted: Wanted, store: Store, check_mode: bool) -> Plan:
    """Compare the host with what is wanted.

    Raises:
        HostFilesError: what is wanted cannot be had.
    """
    manifests = store.load()
    old = manifests.pop(wanted.claim, Manifest(wanted.claim))
    store.refuse_own(wanted)
    refuse_conflicts(wanted, manifests.values())
    accounts = known_accounts()
    if not check_mode:
        refuse_unknown_owners(wanted, accounts | declared(wanted.files))
    paths = {*wanted.files, *wanted.directories, *old.files, *old.directories}
    paths |= {parent for path in paths for parent in parents(path)}
    found = {path: look(path) for path in paths}
    sweep({*wanted.files, *old.files}, found, check_mode)
    return make_plan(wanted, old, found, store.originals({*wanted.files, *old.files}), accounts)


def carry_out(plan: Plan, store: Store) -> None:
    """Take the steps, remembering first what might be touched and last what is true."""
    if not plan.changed:
        return
    for step in plan.steps:
        if step.action == "keep":
            store.keep(step.path, step.after)
    store.save(plan.union)
    Hands().take(plan.steps)
    store.save(plan.manifest)
    for step in plan.steps:
        if step.action == "restore":
            store.drop_original(step.path)


def run(params: dict[str, Any], check_mode: bool) -> tuple[Plan, Wanted]:
    """Everything but Ansible.

    Raises:
        HostFilesError, OSError: nothing was replaced, unless the message of an OSError says otherwise.
    """
    wanted = wanted_from(params)
    store = Store(checked_path(params["manifest_dir"]), checked_path(params["original_dir"]))
    validators = [Validator(row["path"], tuple(row["command"])) for row in params["validate"]]

    def prepare() -> Plan:
        plan = look_and_plan(wanted, store, check_mode)
        commands = concerned(validators, plan.touched)
        if commands and (complaints := preview(plan, commands, check_mode)):
            raise HostFilesError("the new files are refused, nothing was replaced. " + "\n".join(complaints))
        return plan

    if check_mode:
        return prepare(), wanted
    with store.locked():
        plan = prepare()
        carry_out(plan, store)
    return plan, wanted


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        plan, wanted = run(module.params, module.check_mode)
    except (HostFilesError, OSError) as error:
        module.fail_json(msg=str(error))
    gone = [step.path for step in plan.steps if step.action in ("delete", "restore", "rmdir")]
    manifest = plan.manifest.files
    module.exit_json(
        changed=plan.changed,
        diff=make_diff(plan) if module._diff else [],
        files={path: None if wanted.files[path].secret else owned.sha256 for path, owned in manifest.items()},
        written=sorted({path for path in plan.touched if path not in gone}),
        removed=gone,
    )


if __name__ == "__main__":
    main()
