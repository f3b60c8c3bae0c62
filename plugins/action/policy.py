# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the privacy policy on the controller, before any host is touched.

Ansible's variables have lost file and line, and `-e` or host_vars may override them. So the file itself is read here,
and every host's variable `policy` must still say the same.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeGuard

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase

try:
    from sensmail.policy import Loaded, PolicyError, Problem, facts, load
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

INSIDE = Path("group_vars", "all", "policy.yml")
VARIABLE = "policy"
FACT = "sensmail_policy"
HOSTS_SHOWN = 5
THIS_PLAY = "(variables of the play)"

SPEC: dict[str, Any] = {"file": {"type": "path"}, "subjects": {"type": "int", "default": 0}}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """Connects to no host. With `run_once` the fact still reaches every host of the play."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the file and the variables made from it.

        Raises:
            AnsibleActionFail: the engine is not installed on the controller, no single file can be found, or the
                policy is refused; the message then holds every problem.
        """
        super().run(tmp, task_vars)
        if IMPORT_ERROR is not None:
            reason = "It reads the policy; run `make` to set up the virtual environment"
            raise AnsibleActionFail(f"{missing_required_lib('sensmail')} {reason}.\n{IMPORT_ERROR}")
        _, args = self.validate_argument_spec(argument_spec=SPEC)
        if args["subjects"] < 0:
            raise AnsibleActionFail(f"policy: subjects is {args['subjects']}, but a count is zero or more")
        variables = task_vars or {}
        hostvars = variables["hostvars"]
        path = Path(args["file"] or find_file(hostvars)).absolute()
        try:
            loaded = load(path, shown(path))
            refuse_overrides(loaded, {**{host: hostvars[host] for host in hostvars}, THIS_PLAY: variables})
            fact = facts(loaded, path, args["subjects"])
        except PolicyError as error:
            raise AnsibleActionFail(str(error)) from None
        for finding in fact["findings"]:
            self._display.display(f"Finding: {shown(path)}:{finding['line']}: {finding['clause']}: {finding['what']}.")
        return {"changed": False, "ansible_facts": {FACT: fact}, "file": shown(path), "findings": fact["findings"]}


def find_file(hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the policy file of the inventory.

    Raises:
        AnsibleActionFail: there is none, or there are several.
    """
    directories = {str(each) for host in hostvars if (each := hostvars[host].get("inventory_dir"))}
    candidates = [os.path.join(directory, INSIDE) for directory in sorted(directories)]
    found = [path for path in candidates if os.path.isfile(path)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise AnsibleActionFail(
            f"policy: no policy file: looked for {', '.join(candidates) or INSIDE}. Fix: copy the one of"
            " inventories/local into your inventory, or name one with the option `file`"
        )
    raise AnsibleActionFail(
        f"policy: several policy files: {', '.join(found)}."
        " Fix: use one inventory, or name the file with the option `file`"
    )


def shown(path: Path) -> str:
    """Return how messages call the file: from the current directory where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def refuse_overrides(loaded: Loaded, hostvars: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the file with the variable of every host of the inventory, and with what the play itself sets.

    Raises:
        PolicyError: a variable from elsewhere changes a promise.
    """
    hosts_of: dict[tuple[tuple[str | int, ...], str], list[str]] = {}
    for host, variables in hostvars.items():
        if VARIABLE in variables:
            promised = loaded.source.get(VARIABLE)
            for path, what in differences(promised, variables[VARIABLE], (VARIABLE,)):
                hosts_of.setdefault((path, what), []).append(host)
        if FACT in variables and variables[FACT] != variables.get("ansible_facts", {}).get(FACT):
            what = f"{FACT} is set by a variable, so roles would not see the checked values"
            hosts_of.setdefault(((VARIABLE,), what), []).append(host)
    if hosts_of:
        raise PolicyError(_override(loaded, path, what, hosts) for (path, what), hosts in hosts_of.items())


def _override(loaded: Loaded, path: tuple[str | int, ...], what: str, hosts: Sequence[str]) -> Problem:
    more = f" and {len(hosts) - HOSTS_SHOWN} more" if len(hosts) > HOSTS_SHOWN else ""
    who = f"host{'s' if len(hosts) > 1 else ''} {', '.join(hosts[:HOSTS_SHOWN])}{more}"
    key = ".".join(map(str, path))
    fix = "remove it from host_vars, group_vars, the play or -e, and change this file instead"
    return loaded.source.problem(path, f"{key} is overridden for {who}: {what}", fix)


def differences(
    promised: object, effective: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every place where a variable says something else than the file, with what it says."""
    if isinstance(effective, date):  # the file's dates stay text, Ansible's become dates
        effective = effective.isoformat()
    if isinstance(promised, Mapping) and isinstance(effective, Mapping):
        if missing := [key for key in promised if key not in effective]:
            yield path, f"{', '.join(missing)} missing there"
        for key, value in effective.items():
            if key in promised:
                yield from differences(promised[key], value, (*path, key))
            else:
                yield (*path, key), f"{value!r:.60} was added there"
    elif _is_list(promised) and _is_list(effective) and len(promised) == len(effective):
        for number, (old, new) in enumerate(zip(promised, effective, strict=True)):
            yield from differences(old, new, (*path, number))
    elif isinstance(promised, bool) != isinstance(effective, bool) or promised != effective:
        yield path, f"{effective!r:.60} there, {promised!r:.60} in the file"


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
