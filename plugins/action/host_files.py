# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render a tree of templates on the controller and hand it to the module in one call.

Contents travel in the arguments of the module, which pipelining passes through the connection: they are written to no
file of the controller and appear in no command line.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template
from ansible_collections.sensmail.cloud.plugins.modules.host_files import SPEC

SUFFIX = ".j2"
DEFAULTS = {"owner": "root", "group": "root", "mode": "0644", "secret": False, "when": True}
JINJA = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}
MANAGED = "Managed by Ansible ({claim}): changes made here are overwritten"

Row = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The controller's half of sensmail.cloud.host_files."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, then run the module.

        Raises:
            AnsibleActionFail: the tree cannot be rendered, or a row of a table is wrong.
        """
        super().run(tmp, task_vars)
        variables = task_vars or {}
        args = self.validate_argument_spec(argument_spec=SPEC)[1]
        claim = args["claim"] or self._role_name()
        root = self._root(args["src"])
        if not root.is_dir() and (args["src"] or not (args["directories"] or args["files"])):
            raise AnsibleActionFail(f"host_files: {root} is not a directory")
        sources = tree(root)
        refuse_idle_rows("table", args["table"], sources)
        refuse_idle_rows("validate", args["validate"], [*sources, *(file["path"] for file in args["files"])])
        templar = self._templar.copy_with_new_env(
            searchpath=[str(root), str(root.parent)], available_variables=variables
        )
        renderer = Renderer(self._loader, templar, variables, claim, root)
        files = list(args["files"])
        for path, row in attributes(sources, args["table"]).items():
            if row.pop("when"):
                content = base64.b64encode(renderer.content(path, sources[path])).decode("ascii")
                files.append({"path": path, "content": content, **row})
        self._refuse_secrets_without_pipelining(files)
        given = {**args, "claim": claim, "files": files, "src": None, "table": []}
        result: dict[str, Any] = self._execute_module(
            module_name="sensmail.cloud.host_files", module_args=given, task_vars=variables
        )
        return result

    def _role_name(self) -> str:
        if self._task._role is None:
            raise AnsibleActionFail("host_files outside of a role needs `claim`, the name under which files are owned")
        return str(self._task._role.get_name(include_role_fqcn=False))

    def _root(self, src: str | None) -> Path:
        role = self._task._role
        if not src and role is None:
            raise AnsibleActionFail("host_files outside of a role needs `src`, the directory with the tree of files")
        base = Path(role.get_role_path() if role is not None else self._loader.get_basedir())
        return (base / (src or "templates")).resolve()

    def _refuse_secrets_without_pipelining(self, files: Iterable[Row]) -> None:
        secret = next((file["path"] for file in files if file.get("secret")), None)
        if secret and not self._connection.is_pipelining_enabled(wrap_async=bool(self._task.async_val)):
            raise AnsibleActionFail(
                f"host_files: {secret} is secret, and without pipelining it would be written to a temporary file on the"
                " controller: set `pipelining = true` under [connection] in ansible.cfg, and no async on the task"
            )


class Renderer:
    """Turns files of the tree into contents, as ansible.builtin.template does."""

    def __init__(
        self, loader: DataLoader, templar: Templar, variables: Mapping[str, Any], claim: str, root: Path
    ) -> None:
        self._loader = loader
        self._templar = templar
        # what the inventory says about ansible_managed stays
        self._variables = {"ansible_managed": MANAGED.format(claim=claim), **variables}
        self._root = root

    def content(self, path: str, source: Path) -> bytes:
        """The content of one file for the host's `path`.

        Raises:
            AnsibleActionFail: a template is wrong, or a variable in it is not defined.
        """
        if source.suffix != SUFFIX:
            return source.read_bytes()
        name = str(source.relative_to(self._root.parent))
        self._templar.available_variables = {**self._variables, "template_path": name, "template_destpath": path}
        template = self._loader.get_text_file_contents(str(source))
        try:
            text = self._templar.template(trust_as_template(template), escape_backslashes=False, overrides=JINJA)
        except AnsibleError as error:
            raise AnsibleActionFail(f"{name} cannot be rendered: {error}") from error
        if isinstance(text, dict | list):
            kind = "dict" if isinstance(text, dict) else "list"
            raise AnsibleActionFail(f"{name} renders to a {kind}, not to text: end it with a filter like to_nice_json")
        if not isinstance(text, str):  # a template of one expression keeps the type of its value
            text = ("" if text is None else str(text)) + ("\n" if template.endswith("\n") else "")
        return text.encode()


def tree(root: Path) -> dict[str, Path]:
    """Sources below `root` by their path on the host, sorted.

    Raises:
        AnsibleActionFail: a symbolic link, or two sources of one file.
    """
    result: dict[str, Path] = {}
    for source in sorted(root.rglob("*")):
        relative = source.relative_to(root)
        if source.is_symlink():
            raise AnsibleActionFail(f"{source} is a symbolic link: put the file itself into the tree")
        if source.is_dir() or relative.parts[0].startswith("_"):
            continue
        path = f"/{relative}".removesuffix(SUFFIX)
        if path in result:
            raise AnsibleActionFail(f"{source} and {result[path]} are both {path} on the host: remove one")
        result[path] = source
    return result


def attributes(paths: Iterable[str], table: Iterable[Row]) -> dict[str, Row]:
    """Owner, group, mode, secret and when of every path; of the rows that match, the later wins, option by option."""
    result = {}
    for path in paths:
        result[path] = dict(DEFAULTS)
        for row in table:
            if fnmatchcase(path, row["path"]):
                given = {key: value for key, value in row.items() if key != "path" and value is not None}
                result[path].update(given)
    return result


def refuse_idle_rows(option: str, rows: Iterable[Row], paths: Iterable[str]) -> None:
    """A glob that matches nothing is a slip, and one that would leave a secret readable by all.

    Raises:
        AnsibleActionFail: such a row.
    """
    paths = list(paths)
    for number, row in enumerate(rows, 1):
        if not any(fnmatchcase(path, row["path"]) for path in paths):
            raise AnsibleActionFail(
                f"host_files: row {number} of {option}, path {row['path']!r}, matches no file of the tree:"
                " correct or remove it"
            )
