# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Confirm a change of the firewall over a new connection, as an operator who arrives would."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.sensmail.cloud.plugins.modules.nft_table import SPEC

RESERVE_S = 3  # of the time to confirm, kept for the confirmation itself
PAUSE_S = 1


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The controller's half of sensmail.cloud.nft_table."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look; where something has to change: apply, come in anew, confirm."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=SPEC)
        if args["confirm_seconds"] < 2 * RESERVE_S:
            raise AnsibleActionFail(
                f"nft_table: confirm_seconds is {args['confirm_seconds']}, at least {2 * RESERVE_S} are needed"
            )
        self._variables = task_vars
        found = self._call(args, "look")
        if self._task.check_mode or found.get("failed") or not found.get("pending"):
            return found
        former = self._client()
        deadline = time.monotonic() + args["confirm_seconds"]
        applied = self._call(args, "apply")
        if applied.get("failed"):
            return applied
        try:
            self._come_in_anew(former, deadline - RESERVE_S)
        except AnsibleConnectionFailure as error:
            return self._taken_back(args, deadline, former, error)
        confirmed = self._call(args, "confirm")
        return confirmed if confirmed.get("failed") else {**found, **confirmed}

    def _call(self, args: dict[str, Any], phase: str) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="sensmail.cloud.nft_table", module_args={**args, "phase": phase}, task_vars=self._variables
        )
        return result

    def _client(self) -> str:
        """Address and port of this end of the connection, as the host sees it; empty where it is no SSH connection.

        Raises:
            AnsibleConnectionFailure: no answer.
        """
        answer = self._low_level_execute_command('echo "$SSH_CONNECTION"', sudoable=False)
        return str(answer["stdout"]).strip()

    def _come_in_anew(self, former: str, until: float) -> None:
        """Open a connection that is not the one that was open before.

        Raises:
            AnsibleConnectionFailure: none came about in time.
        """
        if not former:  # local, or a connection that no firewall is on the way of
            return
        while True:
            try:
                self._connection.reset()
                present = self._client()
            except AnsibleConnectionFailure as error:
                if time.monotonic() > until:
                    raise
                self._display.vv(f"nft_table: no new connection yet: {error}")
            else:
                if present and present != former:
                    return
                raise AnsibleConnectionFailure(
                    "the connection that was open before is still in use: leave ControlMaster to Ansible"
                )
            time.sleep(PAUSE_S)

    def _taken_back(
        self, args: dict[str, Any], deadline: float, former: str, error: AnsibleConnectionFailure
    ) -> dict[str, Any]:
        """Wait until the host went back, and tell how it stands."""
        self._display.warning(f"nft_table: no new connection, waiting until the host takes the change back: {error}")
        time.sleep(max(0.0, deadline - time.monotonic()) + PAUSE_S)
        back = "the host has put it back by itself and answers again"
        try:
            self._come_in_anew(former, time.monotonic() + args["confirm_seconds"])
        except AnsibleConnectionFailure:
            back = "the host should have put it back by itself but does not answer yet"
        address = (self._variables or {}).get("ansible_host", (self._variables or {}).get("inventory_hostname", ""))
        return {
            "failed": True,
            "changed": False,
            "rolled_back": True,
            "msg": f"nft_table {args['table']}: with the new rules no new connection to {address} came about within "
            f"{args['confirm_seconds']} s, so the former table stays; {back}. Allow SSH from this controller "
            f"(role firewall: firewall_operator_addresses, firewall_ssh_ports). Last error: {error}",
        }
