# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that are faces of the engine share: it may be missing, and its errors become one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from psycopg import Error as DatabaseError

    from sensmail.accounts import AccountError
    from sensmail.keyd.errors import KeyServiceError
    from sensmail.keys import KeyFailure
    from sensmail.records.errors import RecordsError
    from sensmail.rotation.errors import RotationError, told
    from sensmail.store import StoreError, Unreachable

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()


def carry_out(
    module: AnsibleModule,
    name: str,
    work: Callable[[dict[str, Any], bool], dict[str, Any]],
    later: Callable[[str], dict[str, Any]] | None = None,
    **shown: Any,
) -> None:
    """End the module with what `work` makes of its parameters, or with an error that names the fix.

    Args:
        module: as Ansible started it.
        name: stands before every error.
        work: parameters and check mode in, the result out.
        later: the result in check mode when the database is not there yet; takes why.
        shown: goes with every result.
    """
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("sensmail"), exception=IMPORT_ERROR, **shown)
    try:
        module.exit_json(**_work(module, work, later), **shown)
    except (AccountError, KeyFailure, KeyServiceError, RecordsError, RotationError, StoreError) as error:
        module.fail_json(msg=f"{name}: {error}", **shown)
    except DatabaseError as error:
        # Its details may show a row, so neither they nor a traceback are told.
        module.fail_json(msg=f"{name}: {told(error)}", exception=None, **shown)


def _work(
    module: AnsibleModule,
    work: Callable[[dict[str, Any], bool], dict[str, Any]],
    later: Callable[[str], dict[str, Any]] | None,
) -> dict[str, Any]:
    try:
        return work(module.params, module.check_mode)
    except Unreachable as error:
        if later is None or not module.check_mode:
            raise
        return {"changed": True, **later(str(error))}
