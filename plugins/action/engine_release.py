# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the host for its release first; build and send wheels only when it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.sensmail.cloud.plugins.modules.engine_release import SPEC
from ansible_collections.sensmail.cloud.plugins.plugin_utils.wheelhouse import (
    Wheelhouse,
    WheelhouseError,
    default_cache,
)

ROOT = Path(__file__).resolve().parents[2]
SET_HERE = ("digests", "archive")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The controller's half of sensmail.cloud.engine_release."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module without an archive, and once more with one if the host lacks the release.

        Raises:
            AnsibleActionFail: the wheels cannot be built, or the archive cannot be sent.
        """
        super().run(tmp, task_vars)
        own = {name: option for name, option in SPEC.items() if name not in SET_HERE}
        _, arguments = self.validate_argument_spec(argument_spec=own)
        house = Wheelhouse(ROOT, default_cache())
        try:
            arguments["digests"] = house.digests()
            result = self._module(arguments, task_vars)
            if not result.get("absent") or result.get("failed") or self._task.check_mode:
                return result
            archive = house.archive(result["version"], result["machine"])
        except WheelhouseError as error:
            raise AnsibleActionFail(f"engine_release: {error}") from error
        return self._install(arguments, archive, task_vars)

    def _install(self, arguments: dict[str, Any], archive: Path, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self._make_tmp_path()
        place = self._connection._shell.join_path(self._connection._shell.tmpdir, "engine.tar")
        try:
            self._transfer_file(str(archive), place)
            self._fixup_perms2((self._connection._shell.tmpdir, place), execute=False)
            return self._module({**arguments, "archive": place}, task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir, force=True)

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="sensmail.cloud.engine_release", module_args=arguments, task_vars=task_vars
        )
        return result
