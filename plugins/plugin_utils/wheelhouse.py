# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wheels of the engine for another Python than the controller's, cached by what they are made from.

The digest of a release is that of its lock and of the engine's sources, so that it is known before anything is built.
The cache holds one wheelhouse a lock and one archive a release: `~/.cache/sensmail/{wheelhouse,release}/<digest>`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK_GLOB = "requirements-engine-py3*.txt"
SOURCES = ("pyproject.toml", "src/sensmail")
TEXTS = ("README.md", "LICENSE")  # a build may ask for them; a new wording is no new release
SOURCE_DATE_EPOCH = "1577836800"  # 2020-01-01: any fixed time; zip files know none before 1980
REQUIREMENTS = "requirements.txt"
KEPT_ARCHIVES = 6


class WheelhouseError(Exception):
    """The wheels cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Wheelhouse:
    """The engine's sources below `root` and the cache in which wheels are kept."""

    root: Path
    cache: Path

    def digests(self) -> dict[str, str]:
        """Digest of the release for each Python that has a lock: `{"3.13": "…"}`.

        Raises:
            WheelhouseError: the sources or the locks are not there.
        """
        locks = sorted(self.root.glob(LOCK_GLOB))
        if not locks or not (self.root / "src/sensmail").is_dir():
            raise WheelhouseError(f"no engine below {self.root}: {LOCK_GLOB} and src/sensmail must be there")
        sources = self._sources_digest()
        return {_version(lock): _sha256(lock.read_bytes() + sources) for lock in locks}

    def archive(self, version: str, machine: str) -> Path:
        """A tar file with every wheel of the release and its requirements, built unless it is cached.

        Args:
            version: Python of the host, such as 3.13.
            machine: architecture of the host, such as x86_64.

        Raises:
            WheelhouseError: a wheel cannot be downloaded, has another hash than the lock, or the engine does not build.
        """
        target = self.cache / "release" / f"{self.digests()[version]}-{machine}.tar"
        with _locked(self.cache):
            if not target.exists():
                wheels = self._wheels(version, machine)
                with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
                    self._pack(wheels, self._own_wheel(Path(scratch)), self._lock_path(version), target, Path(scratch))
        return target

    def _lock_path(self, version: str) -> Path:
        return self.root / f"requirements-engine-py{version.replace('.', '')}.txt"

    def _source_files(self) -> Iterator[Path]:
        for name in SOURCES:
            path = self.root / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts:
                    yield file

    def _sources_digest(self) -> bytes:
        total = hashlib.sha256()
        for file in self._source_files():
            total.update(f"{file.relative_to(self.root)}\0{_sha256(file.read_bytes())}\n".encode())
        return total.digest()

    def _wheels(self, version: str, machine: str) -> Path:
        lock = self._lock_path(version)
        target = self.cache / "wheelhouse" / f"{_sha256(lock.read_bytes())}-{machine}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            abi = f"cp{version.replace('.', '')}"
            tags = ["--python-version", version, "--abi", abi, "--abi", "abi3", "--abi", "none"]
            tags += [part for glibc in ("_2_28", "2014") for part in ("--platform", f"manylinux{glibc}_{machine}")]
            scratch = Path(tempfile.mkdtemp(dir=self.cache))
            locked = ["--only-binary=:all:", "--require-hashes", "--no-deps", "-r", str(lock), "-d", str(scratch)]
            _pip(["download", *tags, *locked], f"the wheels of {lock.name} for Python {version} on {machine}")
            scratch.rename(target)
        return target

    def _own_wheel(self, scratch: Path) -> Path:
        """Build from a copy, so that a build leaves nothing in the checkout; same sources, same bytes."""
        copy = scratch / "source"
        texts = (self.root / name for name in TEXTS)
        for file in [*self._source_files(), *(text for text in texts if text.is_file())]:
            place = copy / file.relative_to(self.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        _pip(["wheel", "--no-deps", "--no-build-isolation", "-w", str(scratch), str(copy)], "the engine's own wheel")
        return next(scratch.glob("sensmail-*.whl"))

    @staticmethod
    def _pack(wheels: Path, own: Path, lock: Path, target: Path, scratch: Path) -> None:
        name, version = own.name.split("-")[:2]
        requirements = scratch / REQUIREMENTS
        own_line = f"{name}=={version} --hash=sha256:{_sha256(own.read_bytes())}\n"
        requirements.write_text(lock.read_text(encoding="utf-8") + own_line, encoding="utf-8")
        fresh = scratch / "archive"
        with tarfile.open(fresh, "w") as tar:
            for file in [requirements, own, *sorted(wheels.iterdir())]:
                tar.add(file, arcname=file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.rename(target)
        for stale in sorted(target.parent.glob("*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT_ARCHIVES]:
            stale.unlink()


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/sensmail`, or `~/.cache/sensmail`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensmail"


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Several hosts are treated at once, and one of them builds."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(arguments: list[str], what: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input", "--disable-pip-version-check"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()
        raise WheelhouseError(f"{what} could not be had: {reason}")


def _version(lock: Path) -> str:
    digits = lock.stem.rpartition("-py")[2]
    return f"{digits[0]}.{digits[1:]}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
