"""What makes a host hold keys, once: root key, then the key file in every place, then a marker that says so.

The marker is the memory that there is a key file: where it stands, a missing key file is an error and never a reason to
make a new one, which would leave every sealed value unreadable. A run that was cut off is completed by the next.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensmail.custody import credentials, notes
from sensmail.custody.root_host import file_table
from sensmail.keyd import root_keys, settings
from sensmail.keyd.root_keys import RootInUse
from sensmail.keys import KeyFailure, Place, slot, snapshot
from sensmail.keys.errors import KeyFileMissing, PlaceEmpty

MARKER = Path("/etc/sensmail/keys/initialised")
SECRETS = Path("/etc/sensmail/keys/secrets")
UNIT = "sensmail-keyd-setup.service"
SWAPS = Path("/proc/swaps")


class SetupError(KeyFailure):
    """The host's keys cannot be set up. The text names file or unit and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies.

    Attributes:
        places: directories of the key file, the leading one first.
        root: directory of the root credentials; None where the root key lies with another provider.
        secrets: names of the credentials that the provider needs, in `secrets_in`.
        configuration: of the key service; beside it stands which root is in use.
    """

    places: tuple[Path, ...]
    root: Path | None = credentials.DIRECTORY
    secrets: tuple[str, ...] = ()
    secrets_in: Path = SECRETS
    marker: Path = MARKER
    configuration: Path = settings.PATH


@dataclass
class Outcome:
    """What was done, or in check mode would be, and what an operator should know."""

    steps: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def start_unit(unit: str = UNIT) -> None:
    """Run a unit that makes a root key, or the key file as the account of the key service.

    Raises:
        SetupError: it failed; the text has its words.
    """
    for command in (["daemon-reload"], ["start", unit]):
        done = _run("systemctl", *command)
        if done.returncode:
            raise SetupError(f"{unit}: {_words(unit) or done.stderr.strip()}")


def make_root(generation: int) -> None:
    """A root key on this host. Raises SetupError."""
    start_unit(credentials.MAKE_UNIT.format(generation))


def _words(unit: str) -> str:
    """What the unit's last start wrote, else what systemd wrote about it."""
    _run("journalctl", "--sync")
    invocation = _run("systemctl", "show", "--property=InvocationID", "--value", unit).stdout.strip()
    for source in (f"_SYSTEMD_INVOCATION_ID={invocation}", f"INVOCATION_ID={invocation}"):
        if words := _run("journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=3", source).stdout.strip():
            return words
    return ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ensure(layout: Layout, *, check: bool = False, make_file: Callable[[], None] = start_unit) -> Outcome:
    """Set the keys up where they are not, and tell where something is missing that was there.

    Args:
        layout: where.
        check: only say what would be done.
        make_file: makes the key file in all places.

    Raises:
        SetupError, KeyFailure: nothing that holds keys was changed.
    """
    outcome = Outcome(findings=_findings(layout.places))
    holding = [place for place in layout.places if _holds(place)]
    if layout.marker.exists():
        _require_whole(layout, holding)
        if not _note(layout).exists():
            outcome.steps.append(f"remember in {_note(layout)} which root is in use")
            if not check:
                _remember_root(layout)
        return outcome
    _require_secrets(layout)
    if layout.root and not credentials.generations(layout.root):
        _refuse_strange(layout.root, holding)
        outcome.steps.append(f"make root key {layout.root / '1'}")
        if not check:
            make_root(1)
    outcome.steps.append(f"make the key file in {', '.join(map(str, layout.places))}")
    if not check:
        if not holding:
            _note(layout).unlink(missing_ok=True)  # of an earlier key file: the wanted root makes this one
        make_file()
        _require_made(layout)
        _remember_root(layout)
        _mark(layout)
    return outcome


def _note(layout: Layout) -> Path:
    return layout.configuration.with_name(root_keys.PATH.name)


def _remember_root(layout: Layout) -> None:
    """Other settings come into force by a root change only. The slot names the key that wraps."""
    table = settings.load(layout.configuration).root
    if layout.root:
        table = file_table(credentials.generations(layout.root)[-1])
    place = Place(layout.places[0])
    head = snapshot.header(place.read(snapshot.NAME) or b"", f"{place}: {snapshot.NAME}")
    held = slot.parse(place.read(slot.name(head.epoch)), f"{place}: {slot.name(head.epoch)}")
    try:
        notes.write(_note(layout), root_keys.encode([RootInUse(held.root.hex(), dict(table))]), 0o644)
    except OSError as error:
        raise SetupError(f"{_note(layout)}: {error.strerror}; run again") from error


def _holds(place: Path) -> bool:
    return (place / snapshot.NAME).exists()


def _require_whole(layout: Layout, holding: Sequence[Path]) -> None:
    """Everything that the marker stands for is still there."""
    since = f"{layout.marker} says that this host has a key file"
    for place in layout.places:
        if place in holding:
            continue
        if not holding:
            raise KeyFileMissing(f"{place}: holds no key file, but {since}: bring it back from a copy (docs/keys.md)")
        raise PlaceEmpty(f"{place}: holds no key file, but {since}: mount what belongs there, or `sensmail keys fill`")
    if layout.root and not credentials.generations(layout.root):
        fix = "bring it back, or let two officers open a copy (docs/keys.md, recovery)"
        raise SetupError(f"{layout.root}: holds no root key, but {since}: {fix}")


def _require_secrets(layout: Layout) -> None:
    for name in layout.secrets:
        if not (path := layout.secrets_in / name).exists():
            how = f"systemd-ask-password -n {name} | systemd-creds encrypt --name=sensmail-secret_{name} - {path}"
            raise SetupError(f"{path}: the root provider needs this secret; enter it on the host: {how}")


def _refuse_strange(root: Path, holding: Sequence[Path]) -> None:
    """A key file whose root key is gone is not replaced by a new one."""
    for place in holding:
        text = f"{place}: holds a key file, but {root} holds no root key that could open it"
        raise SetupError(f"{text}: bring the root key back, or follow docs/keys.md, recovery; nothing was changed")


def _require_made(layout: Layout) -> None:
    for place in layout.places:
        if not _holds(place):
            raise KeyFileMissing(f"{place}: {UNIT} ended well, but there is no key file; look at its journal")


def _mark(layout: Layout) -> None:
    """Remember durably that there is a key file."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        notes.write(layout.marker, f"{made}\n".encode())
    except OSError as error:
        raise SetupError(f"{layout.marker}: {error.strerror}; run again") from error


def _findings(places: Sequence[Path]) -> list[str]:
    """What does not stop a set-up, but weakens it."""
    found = []
    if swap := _lines(SWAPS)[1:]:
        devices = ", ".join(line.split()[0] for line in swap)
        found.append(f"this host swaps to {devices}: the key service does not, but its callers may; turn swap off")
    disks = {place.stat().st_dev for place in places if place.is_dir()}
    if len(disks) == 1 and len(places) > 1:
        names = " and ".join(map(str, places))
        found.append(f"{names} lie on one disk: its loss takes every sealed value; mount another one for people's data")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
