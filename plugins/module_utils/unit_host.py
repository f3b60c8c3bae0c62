# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hands of host_units: systemctl, the journal, the configuration on disk, and the records."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import posixpath
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.sensmail.cloud.plugins.module_utils.file_host import Hands, look, remove
from ansible_collections.sensmail.cloud.plugins.module_utils.file_model import Attrs, Found
from ansible_collections.sensmail.cloud.plugins.module_utils.unit_plan import Configuration, Record, Unit

PROPERTIES = (
    "Id,LoadState,LoadError,ActiveState,SubState,UnitFileState,InvocationID,NeedDaemonReload,FragmentPath,DropInPaths,"
    "InactiveExitTimestamp,Type,RemainAfterExit,Result,ConditionResult,ConditionTimestamp,AssertResult,Triggers"
)
TIME = "%a %Y-%m-%d %H:%M:%S.%f %Z"
JOURNAL_LINES = 20


class HostUnitsError(Exception):
    """A unit is not as wished. The message names the unit, its state and what it said."""


@dataclass(frozen=True)
class Shown:
    """One unit as `systemctl show` tells it, and where its definition lies."""

    unit: Unit
    definition: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    stale: bool = False  # systemd has not yet read the unit file that lies on disk
    load_error: str = ""


def parse_show(text: str, count: int) -> list[Shown]:
    """Read the output of `systemctl show` for `count` units, in the order they were asked for. Pure.

    Raises:
        HostUnitsError: there are not as many blocks as units.
    """
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip("\n").split("\n\n")]
    if len(blocks) != count:
        raise HostUnitsError(f"systemctl show answered {len(blocks)} units for {count}: is a name in the list a glob?")
    return [_shown(block) for block in blocks]


def _shown(block: dict[str, str]) -> Shown:
    get = block.get
    unit = Unit(
        load=get("LoadState", ""),
        active=get("ActiveState", ""),
        sub=get("SubState", ""),
        file_state=get("UnitFileState", ""),
        invocation=get("InvocationID", ""),
        started_at=parse_time(get("InactiveExitTimestamp", "")),
        is_job=get("Type") == "oneshot" and get("RemainAfterExit") == "no",
        result=get("Result", "success"),
        # both are "no" for a unit that was never asked to start, which has no timestamp either
        condition_met=not parse_time(get("ConditionTimestamp", ""))
        or (get("ConditionResult", "yes") == "yes" and get("AssertResult", "yes") == "yes"),
    )
    definition = tuple(path for path in (get("FragmentPath", ""), *get("DropInPaths", "").split()) if path)
    return Shown(
        unit, definition, tuple(get("Triggers", "").split()), get("NeedDaemonReload") == "yes", get("LoadError", "")
    )


def parse_time(text: str) -> float:
    """Seconds since 1970 from `systemctl show --timestamp=us+utc`; 0 for never."""
    try:
        return datetime.strptime(text, TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def show(names: Sequence[str]) -> dict[str, Shown]:
    """Ask systemd about all units at once.

    Raises:
        HostUnitsError: systemd does not answer.
    """
    if not names:
        return {}
    done = systemctl("show", "--timestamp=us+utc", f"--property={PROPERTIES}", "--", *names)
    if done.returncode:
        raise HostUnitsError(f"systemctl show failed: {done.stdout.strip()}")
    return dict(zip(names, parse_show(done.stdout, len(names)), strict=True))


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemctl without colours, pager or questions.

    Raises:
        HostUnitsError: there is no systemctl.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        return subprocess.run(
            ["systemctl", "--no-ask-password", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise HostUnitsError("systemctl is not on this host: host_units needs one that runs systemd") from None


def act(verb: str, names: Sequence[str]) -> None:
    """Run one verb on a unit (and on units that must go with it).

    Raises:
        HostUnitsError: systemd refused; the message has its words and the unit's.
    """
    done = systemctl(verb, "--", *names)
    if done.returncode:
        shown = show(names[:1])[names[0]]
        state = f"{shown.unit.load}, {shown.unit.active} ({shown.unit.sub}), result: {shown.unit.result}"
        raise HostUnitsError(failure(names[0], f"systemctl {verb} failed; the unit is {state}\n{done.stdout.strip()}"))


def failure(name: str, what: str) -> str:
    """A message with the last words of a unit."""
    done = subprocess.run(
        ["journalctl", "--unit", name, "--lines", str(JOURNAL_LINES), "--no-pager", "--quiet", "--output", "short-iso"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        check=False,
    )
    return f"{name}: {what}\nLast {JOURNAL_LINES} lines of its journal:\n{done.stdout.strip() or '(none)'}"


def read_configuration(
    name: str, patterns: Iterable[str], definition: Iterable[str]
) -> tuple[Configuration, list[str]]:
    """What a unit reads, and the patterns that match no file.

    Raises:
        OSError: a file cannot be read.
    """
    files: set[str] = set()
    watched: set[str] = set()  # an entry that went from here may have been read by the unit
    beside: set[str] = {f"/etc/systemd/system/{name}.d"}
    idle = []
    for pattern in patterns:
        matched = _glob(pattern)
        plain = {path for path in matched if Path(path).is_file()}
        if not plain:
            idle.append(pattern)
        files |= plain
        above = _glob(posixpath.dirname(pattern))
        (watched if glob.has_magic(pattern) else beside).update(set(matched) - plain, above)
    definition = [path for path in definition if Path(path).is_file()]
    newest = max(_changed((*files, *definition)), _entry_changed(watched))
    configuration = Configuration(_digest(files), _digest(definition), newest, max(newest, _entry_changed(beside)))
    return configuration, idle


def _glob(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # Path.glob takes no absolute pattern


def _changed(files: Iterable[str]) -> float:
    # not mtime, which anybody may set to anything, as package managers do
    return max((Path(path).stat().st_ctime for path in files), default=0.0)


def _entry_changed(directories: Iterable[str]) -> float:
    return max((Path(path).stat().st_mtime for path in directories if Path(path).is_dir()), default=0.0)


def _digest(paths: Iterable[str]) -> str:
    """SHA-256 over names and contents; empty for no files."""
    total = hashlib.sha256()
    paths = sorted(set(paths))
    if not paths:
        return ""
    for path in paths:
        with Path(path).open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{inner} {path}\0".encode(errors="surrogateescape"))
    return total.hexdigest()


class Records:
    """What we remember of each unit: one small file a unit."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._hands = Hands()

    def load(self, name: str) -> Record | None:
        """The record of a unit; None where there is none that can be read: the unit is then judged by time."""
        try:
            raw = json.loads(look(self._path(name)).content)
            return Record(str(raw["digest"]), str(raw["definition"]), str(raw["invocation_id"]))
        except (ValueError, KeyError, TypeError):
            return None

    def save(self, name: str, record: Record) -> None:
        """Replace the record of a unit."""
        content = (json.dumps(vars(record), sort_keys=True) + "\n").encode()
        self._hands.make_private_directory(self._directory)
        self._hands.put(self._path(name), Found("file", Attrs(mode="0640"), content))

    def drop(self, name: str) -> None:
        """Forget a unit that is stopped: whoever starts it next gives it what lies on disk then."""
        remove(self._path(name))

    def _path(self, name: str) -> str:
        return posixpath.join(self._directory, name + ".json")
