#!/usr/bin/python
# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make units run with the configuration on disk. The duty lies in module_utils/unit_*.py; this is its face."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_units
short_description: Makes systemd units run with the configuration that lies on disk
version_added: 0.1.0
description:
  - Enables, starts, stops and masks units, and restarts one when its configuration is not the one it was started with.
  - That is found out by comparison, not by notification, so an interrupted run loses no restart. A digest of the files
    that a unit reads, of its unit file and of its drop-ins is remembered together with the InvocationID of the start.
  - A unit that somebody else started in the meantime, or the boot of the machine, is restarted only if its
    configuration changed after that start. A unit of which nothing is remembered is restarted if a file of its
    configuration is newer than its start.
  - A unit that failed is started again. A C(oneshot) that does not remain active runs when its configuration changed.
  - Tells systemd to read changed unit files again, also those of services that a listed timer, socket or path triggers.
  - Fails when a unit is not running in the end, with the last lines of its journal.
author:
  - sensmail.cloud contributors (@sensmail)
attributes:
  check_mode:
    details: A unit that is not installed yet counts as a change.
extends_documentation_fragment:
  - sensmail.cloud.attributes
options:
  units:
    description: Units, in the order in which they are acted upon.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name of the unit, with its suffix.
        type: str
        required: true
      config:
        description:
          - Files that the unit reads, as globs in which C(**) matches directories at any depth.
          - As in a shell, names that begin with a dot are matched only by patterns that do so too.
        type: list
        elements: path
        default: []
      reload:
        description: Whether a reload is enough when only files of O(units[].config) changed, not the unit file.
        type: bool
        default: false
      enabled:
        description: Whether the unit starts with the machine. A unit without C([Install]) is left as it is.
        type: bool
        default: true
      state:
        description: Whether it runs now.
        type: str
        choices: [started, stopped]
        default: started
      masked:
        description: Whether nobody can start it. A masked unit is stopped, and its other options do not matter.
        type: bool
        default: false
  state_dir:
    description: Directory of the host with one record a unit.
    type: path
    default: /var/lib/sensmail/units
"""

EXAMPLES = r"""
- name: Postfix runs with the configuration on disk
  sensmail.cloud.host_units:
    units:
      - {name: postfix.service, config: [/etc/postfix/*, /etc/postfix/**/*]}

- name: The daily job is armed, the old one is gone for good
  sensmail.cloud.host_units:
    units:
      - {name: sensmail-purge.timer}
      - {name: apt-listchanges.timer, masked: true}
"""

RETURN = r"""
units:
  description: What was done to each unit, or would be, and why. Units that were left alone are not named.
  type: dict
  returned: success
  sample: {postfix.service: {verbs: [restart], reason: configuration changed}}
daemon_reloaded:
  description: Whether systemd was told to read unit files again, or would be.
  type: bool
  returned: success
"""

import math
import re
import time
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sensmail.cloud.plugins.module_utils.unit_host import (
    HostUnitsError,
    Records,
    Shown,
    act,
    failure,
    read_configuration,
    show,
    systemctl,
)
from ansible_collections.sensmail.cloud.plugins.module_utils.unit_plan import (
    Configuration,
    Decision,
    Record,
    Wish,
    complaint,
    decide,
    describe,
)

SETTLE_S = 0.5
# unit names of systemd.unit(5); no glob, no option
UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.(service|socket|timer|path|mount|swap|target|slice|scope|automount|device)"
)
SPEC: dict[str, Any] = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "config": {"type": "list", "elements": "path", "default": []},
            "reload": {"type": "bool", "default": False},
            "enabled": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "masked": {"type": "bool", "default": False},
        },
    },
    "state_dir": {"type": "path", "default": "/var/lib/sensmail/units"},
}


def wishes_from(rows: list[dict[str, Any]]) -> dict[str, Wish]:
    """Read the options.

    Raises:
        HostUnitsError: a name is no unit name, or is listed twice.
    """
    wishes: dict[str, Wish] = {}
    for row in rows:
        name = row["name"]
        if not UNIT.fullmatch(name):
            raise HostUnitsError(f"{name!r} is no full unit name: write it with its suffix, such as postfix.service")
        if name in wishes:
            raise HostUnitsError(f"{name} is listed twice: join the two entries")
        wishes[name] = Wish(name, row["state"] == "started", row["enabled"], row["masked"], row["reload"])
    return wishes


def reload_if_stale(names: list[str], check_mode: bool) -> tuple[frozenset[str], bool]:
    """Let systemd read what is new on disk. Returns the listed units that were stale, and whether any was.

    Raises:
        HostUnitsError: systemd does not answer.
    """
    shown = show(names)
    triggered = sorted({name for one in shown.values() for name in one.triggers} - set(names))
    stale = frozenset(name for name, one in (*shown.items(), *show(triggered).items()) if one.stale)
    if stale and not check_mode:
        done = systemctl("daemon-reload")
        if done.returncode:
            raise HostUnitsError(f"systemctl daemon-reload failed: {done.stdout.strip()}")
    return stale & set(names), bool(stale)


def active_services(socket: Shown) -> list[str]:
    """The services of a socket that run at this moment."""
    return [name for name, one in show(socket.triggers).items() if one.unit.active == "active"]


class Conductor:
    """Goes through the units of one call."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._check: bool = module.check_mode
        self._records = Records(module.params["state_dir"])
        self._started: list[Wish] = []
        self.done: dict[str, Any] = {}
        self.diff: list[Any] = []

    def treat(self, wish: Wish, patterns: list[str], shown: Shown, stale: bool) -> None:
        """Bring one unit to what is wished and remember what it runs with.

        Raises:
            HostUnitsError: it cannot be brought there.
        """
        if shown.unit.load in ("error", "bad-setting"):
            raise HostUnitsError(failure(wish.name, f"its unit file cannot be loaded: {shown.load_error}"))
        configuration, idle = read_configuration(wish.name, patterns, shown.definition)
        if stale:  # whoever started it did so with another definition than the one on disk
            configuration = replace(configuration, newest=math.inf, newest_beside=math.inf)
        if shown.stale:  # in check mode only; drop-ins that systemd has not read are not in its list either
            configuration = replace(configuration, definition="not read yet")
        for pattern in idle if not self._check else ():
            self._module.warn(f"{wish.name}: {pattern} matches no file, so no change there will restart it")
        record = self._records.load(wish.name)
        decision = decide(wish, shown.unit, configuration, record)
        if decision.changed:
            digests = (record.digest if record else "", configuration.digest)
            self.diff.append(describe(wish, shown.unit, decision, digests))
            self.done[wish.name] = {"verbs": list(decision.verbs), "reason": decision.reason}
        if not self._check:
            self._carry_out(wish, shown, decision, configuration)

    def _carry_out(self, wish: Wish, shown: Shown, decision: Decision, configuration: Configuration) -> None:
        if wish.started and not wish.masked and shown.unit.load == "not-found":
            raise HostUnitsError(
                f"{wish.name} is not on this host: install its package or its unit file in an earlier task"
            )
        for verb in decision.verbs:
            # a socket does not listen while its service holds it
            busy = active_services(shown) if wish.name.endswith(".socket") and verb in ("start", "restart") else []
            for step, names in (("stop", busy), (verb, [wish.name]), ("start", busy)):
                if names:
                    act(step, names)
        if decision.changed:
            shown = show([wish.name])[wish.name]
            if what := complaint(wish, shown.unit):
                raise HostUnitsError(failure(wish.name, what))
            self._started.append(wish)
        if decision.adopt:
            self._records.save(wish.name, Record.of(configuration, shown.unit.invocation))
        elif not wish.started or wish.masked:
            self._records.drop(wish.name)

    def look_back(self) -> None:
        """Look once more at what was started: a program that dislikes its configuration often ends a moment later.

        Raises:
            HostUnitsError: a unit is not as wished.
        """
        if self._started:
            time.sleep(SETTLE_S)
        for name, shown in show([wish.name for wish in self._started]).items():
            wish = next(wish for wish in self._started if wish.name == name)
            if what := complaint(wish, shown.unit):
                raise HostUnitsError(failure(name, "a moment after it was started, it " + what))


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    conductor = Conductor(module)
    reloaded = False
    try:
        wishes = wishes_from(module.params["units"])
        stale, reloaded = reload_if_stale(list(wishes), module.check_mode)
        shown = show(list(wishes))
        for row, wish in zip(module.params["units"], wishes.values(), strict=True):
            if conductor.done and not module.check_mode:
                shown = show(list(wishes))  # what was done to one unit may have moved another
            conductor.treat(wish, row["config"], shown[wish.name], wish.name in stale)
        conductor.look_back()
    except (HostUnitsError, OSError) as error:
        module.fail_json(msg=str(error), units=conductor.done, daemon_reloaded=reloaded)
    module.exit_json(
        changed=reloaded or bool(conductor.done),
        units=conductor.done,
        daemon_reloaded=reloaded,
        diff=conductor.diff if module._diff else [],
    )


if __name__ == "__main__":
    main()
