# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hands of nft_table: nft, a scratch network namespace, and the timer that takes a change back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.sensmail.cloud.plugins.module_utils.nft_ruleset import (
    BYSTANDER,
    NftError,
    Table,
    meaning,
    tables,
)

NFT = "/usr/sbin/nft"
STATE_DIR = "/run/sensmail-deploy/nft"
# loads standard input beside a table that must survive, then tells what came out, for programs and for people
SCRATCH = f"{NFT} add table inet {BYSTANDER} && {NFT} -f - && {NFT} --json --stateless list ruleset"
# the elements of a dynamic set in a listing for people
DYNAMIC = re.compile(r"(flags [a-z,]*dynamic[^{}]*?)\n\s*elements = {[^{}]*}")


def installed() -> bool:
    """False where the package nftables is missing."""
    return os.access(NFT, os.X_OK)


@dataclass(frozen=True)
class Host:
    """One table of this host."""

    table: Table
    state_dir: str = STATE_DIR

    @property
    def unit(self) -> str:
        """Name, without suffix, of the timer that takes an unconfirmed change back."""
        return f"sensmail-nft-rollback-{self.table.family}-{self.table.name}"

    @property
    def saved(self) -> Path:
        """The table as it was last confirmed, as commands."""
        return Path(self.state_dir, f"{self.table.family}-{self.table.name}.nft")

    def wanted(self, ruleset: str) -> list[object]:
        """What `ruleset` means, found out by loading it where no packet passes.

        Raises:
            NftError: nft refuses it, or it touches another table.
        """
        command = ["unshare", "--net", "--", "sh", "-c", SCRATCH]
        done = _run(command, self.table.replacement(ruleset))
        if done.returncode:
            raise NftError(f"nft refuses the ruleset, nothing was changed: {complaint(done)}")
        touched = tables(done.stdout)
        if touched != {self.table, Table("inet", BYSTANDER)}:
            others = sorted(str(one) for one in touched - {self.table} if one.name != BYSTANDER)
            what = f"makes the tables {', '.join(others)}" if others else "removes tables that it does not own"
            raise NftError(f"the ruleset {what}: it may define {self.table} alone, nothing was changed")
        found: list[object] = meaning(done.stdout, self.table)
        return found

    def live(self) -> list[object]:
        """What the kernel enforces now; empty without the table.

        Raises:
            NftError: nft does not answer.
        """
        done = _run([NFT, "--json", "--stateless", "list", "ruleset"])
        if done.returncode:
            raise NftError(f"nft list ruleset failed: {done.stderr.strip()}")
        found: list[object] = meaning(done.stdout, self.table)
        return found

    def listing(self) -> str:
        """The live table for people; empty without the table."""
        done = _run([NFT, "--stateless", "list", "table", self.table.family, self.table.name])
        return DYNAMIC.sub(r"\1", done.stdout) if done.returncode == 0 else ""

    def preview(self, ruleset: str) -> str:
        """The listing as it would be."""
        show = f"{NFT} -f - && {NFT} --stateless list table {self.table}"
        return _run(["unshare", "--net", "--", "sh", "-c", show], self.table.replacement(ruleset)).stdout

    def replace(self, ruleset: str, seconds: int) -> None:
        """Put the ruleset in force, after arming the timer that takes it back.

        Raises:
            NftError: nothing was changed.
        """
        self.arm(seconds)
        done = _run([NFT, "-f", "-"], self.table.replacement(ruleset))
        if done.returncode:
            self.disarm()
            raise NftError(f"nft refuses the ruleset, nothing was changed: {complaint(done)}")

    def arm(self, seconds: int) -> None:
        """Let systemd put the table back as it is now, `seconds` from now.

        Where an earlier change still waits for its confirmation, what it would go back to stays the goal.

        Raises:
            NftError: no timer, hence no change.
        """
        if not self.armed():
            self._save()
        self._stop()
        Path(self.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        when = [f"--on-active={seconds}s", "--timer-property=AccuracySec=100ms", "--property=Type=oneshot"]
        what = ["systemd-run", "--quiet", "--collect", f"--unit={self.unit}", *when, NFT, "-f", str(self.saved)]
        done = _run(what)
        if done.returncode:
            raise NftError(f"no timer to take the change back, so nothing was changed: {done.stderr.strip()}")

    def _save(self) -> None:
        done = _run([NFT, "list", "table", self.table.family, self.table.name])
        self.saved.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.saved.write_text(self.table.replacement(done.stdout) if done.returncode == 0 else self.table.removal)
        check = _run([NFT, "--check", "-f", str(self.saved)])
        if check.returncode:
            raise NftError(f"the present table could not be put back, so nothing was changed: {check.stderr.strip()}")

    def armed(self) -> bool:
        """True while a change waits for its confirmation."""
        return _run(["systemctl", "is-active", "--quiet", f"{self.unit}.timer"]).returncode == 0

    def disarm(self) -> None:
        """Keep the change."""
        self._stop()
        self.saved.unlink(missing_ok=True)

    def _stop(self) -> None:
        _run(["systemctl", "stop", f"{self.unit}.timer", f"{self.unit}.service"])
        _run(["systemctl", "reset-failed", f"{self.unit}.timer", f"{self.unit}.service"])


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What nft says, with the line numbers of the ruleset in place of those of the transaction."""
    before = 2  # lines of Table.removal
    lines = []
    for line in done.stderr.splitlines():
        place, colon, rest = line.partition(":")
        number, dash, column = rest.partition(":")
        if colon and dash and place in ("/dev/stdin", "-") and number.isdigit():
            line = f"line {int(number) - before}:{column}"
        lines.append(line)
    return "\n".join(lines)


def write(path: str, content: str) -> None:
    """Replace a file in one act, readable by root alone; it is on the disk when this returns."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    shutil.chown(partial, 0, 0)
    partial.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: str) -> str | None:
    """The content of a file, or None."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _run(command: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)
