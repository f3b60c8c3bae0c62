# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of host_files as Ansible shows differences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import Found, digest
from ansible_collections.sensmail.cloud.plugins.module_utils.file_plan import Plan, Step

Entry = dict[str, str]


def make_diff(plan: Plan) -> list[Entry]:
    """Entries of before and after: contents, attributes, accounts, removals, and what is newly claimed."""
    entries = [entry for step in plan.steps for entry in _step(step)]
    taken = sorted(
        plan.manifest.files.keys() - plan.old.files.keys() - {s.path for s in plan.steps if s.action == "write"}
    )
    entries += [_entry(path, "not owned\n", f"owned by {plan.manifest.claim}\n") for path in taken]
    if plan.changed and not entries:
        entries.append(
            _entry(f"manifest of {plan.manifest.claim}", "remembers another state\n", "remembers this state\n")
        )
    return entries


def _step(step: Step) -> Iterator[Entry]:
    before, after = step.before, step.after
    if step.action == "accounts":
        yield _entry("accounts", "", "those that sysusers.d files name (systemd-sysusers)\n")
    elif step.action in ("mkdir", "rmdir"):
        yield _entry(step.path, _directory(before), _directory(after))
    elif step.action in ("write", "restore", "delete"):
        old = _content(before, "old" if step.was_secret or step.secret else "")
        new = _content(after, "new" if step.secret else "")
        entry = _entry(step.path, old, new)
        yield {**entry, "before_header": _header(step.path, before), "after_header": _header(step.path, after)}
    if step.action != "keep" and "absent" not in (before.kind, after.kind) and before.attrs != after.attrs:
        yield _entry(step.path, f"{before.attrs}\n", f"{after.attrs}\n")


def _entry(path: str, before: str, after: str) -> Entry:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def _header(path: str, found: Found) -> str:
    return f"{path} (absent)" if found.kind == "absent" else f"{path} ({found.attrs})"


def _directory(found: Found) -> str:
    return "" if found.kind == "absent" else f"directory {found.attrs}\n"


def _content(found: Found, secret: str) -> str:
    """A content as text; of a secret one only `secret`, "old" or "new", as equal texts would show no difference."""
    if found.kind == "absent":
        return ""
    if found.kind == "link":
        return f"symbolic link to {found.target}\n"
    if secret:
        return f"(secret, {secret} content: not shown)\n"
    try:
        text = found.content.decode()
    except UnicodeDecodeError:
        text = "\0"
    return f"binary, {len(found.content)} bytes, sha256 {digest(found.content)}\n" if "\0" in text else text
