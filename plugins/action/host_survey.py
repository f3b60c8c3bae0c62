# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a host that may have nothing but a shell."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.sensmail.cloud.plugins.plugin_utils.survey import SCRIPT, Survey


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """All of sensmail.cloud.host_survey; there is no module, because there may be no Python."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the script, give its answers as facts.

        Raises:
            AnsibleActionFail: the shell did not answer.
        """
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        done = self._low_level_execute_command(SCRIPT)
        if done["rc"]:
            said = f"{done['stdout']}{done['stderr']}".strip()
            raise AnsibleActionFail(f"host_survey: the shell of the host ended with {done['rc']}: {said}")
        survey = Survey.parse(done["stdout"])
        return {"changed": False, "ansible_facts": survey.facts(), "survey": survey.answers}
