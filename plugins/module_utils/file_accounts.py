# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which accounts a set of sysusers.d files makes. Pure. Format: sysusers.d(5) of systemd 257."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import HostFilesError, WantedFile

SYSUSERS_DIRECTORIES = ("/etc/sysusers.d", "/run/sysusers.d", "/usr/lib/sysusers.d")


@dataclass(frozen=True)
class Accounts:
    """Users, groups, and who is listed in which group: (user, group)."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    members: frozenset[tuple[str, str]] = field(default=frozenset())

    def missing_from(self, host: Accounts) -> bool:
        """True when `host` lacks something that is declared here."""
        return not (self.users <= host.users and self.groups <= host.groups and self.members <= host.members)

    def __or__(self, other: Accounts) -> Accounts:
        return Accounts(self.users | other.users, self.groups | other.groups, self.members | other.members)


def is_sysusers(path: str) -> bool:
    """True when systemd-sysusers reads this file."""
    return path.endswith(".conf") and posixpath.dirname(path) in SYSUSERS_DIRECTORIES


def declared(files: Mapping[str, WantedFile]) -> Accounts:
    """The accounts that the sysusers.d files among `files` make.

    Raises:
        HostFilesError: a line of such a file cannot be read.
    """
    result = Accounts()
    for path, file in files.items():
        if is_sysusers(path):
            for number, line in enumerate(file.content.decode(errors="replace").splitlines(), 1):
                result |= _line(f"{path} line {number}", line)
    return result


def _line(where: str, line: str) -> Accounts:
    try:
        words = shlex.split(line, comments=False) if not line.lstrip().startswith("#") else []
    except ValueError as error:
        raise HostFilesError(f"{where} is no line of sysusers.d: {line!r} ({error})") from error
    if not words or words[0] == "r":  # r: a range of numbers, which makes no account
        return Accounts()
    kind, name = words[0].rstrip("!"), words[1] if len(words) > 1 else ""
    if "%" in name:
        return Accounts()  # a specifier: only the host can tell the name
    one = frozenset({name})
    match kind:
        case "u" if name:
            group = words[2].partition(":")[2] if len(words) > 2 else ""
            named = bool(group) and not group.isdigit()
            # "u name uid:group" uses that group and makes none of the user's name
            return Accounts(one, frozenset({group}) if named else frozenset() if group else one)
        case "g" if name:
            return Accounts(groups=one)
        case "m" if len(words) > 2:
            return Accounts(one, frozenset({words[2]}), frozenset({(name, words[2])}))
    raise HostFilesError(f"{where} is no line of sysusers.d: {line!r}. It must begin with u, g, m or r and a name")
