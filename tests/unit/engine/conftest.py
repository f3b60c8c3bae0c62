"""A tiny engine with one locked wheel, and a host directory to install it into: all real, nothing from the net."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pip
import pytest
from ansible_collections.sensmail.cloud.plugins.module_utils import release_store
from ansible_collections.sensmail.cloud.plugins.module_utils.release_store import ReleaseStore
from ansible_collections.sensmail.cloud.plugins.plugin_utils.wheelhouse import Wheelhouse

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "sensmail"
version = "1.2.3"
requires-python = ">=3.11"
[project.scripts]
sensmail = "sensmail:main"
[tool.hatch.build.targets.wheel]
packages = ["src/sensmail"]
"""


@dataclass(frozen=True)
class Place:
    """A checkout with an engine, the cache of wheels, and a host."""

    root: Path
    cache: Path
    host: Path

    @property
    def house(self) -> Wheelhouse:
        """The wheelhouse of the checkout."""
        return Wheelhouse(self.root, self.cache)

    @property
    def store(self) -> ReleaseStore:
        """The releases on the host."""
        return ReleaseStore(str(self.host / "opt"), str(self.host / "sensmail"), sys.executable)

    @property
    def digest(self) -> str:
        """Digest of the release for this Python."""
        digests: dict[str, str] = self.house.digests()
        return digests[VERSION]

    @property
    def lock(self) -> Path:
        """The hash lock for this Python."""
        return self.root / f"requirements-engine-py{VERSION.replace('.', '')}.txt"

    def archive(self) -> str:
        """The release as it is sent to a host."""
        return str(self.house.archive(VERSION, "x86_64"))

    def edit(self, text: str) -> None:
        """Change the engine's source."""
        (self.root / "src/sensmail/__init__.py").write_text(f"def main():\n    print({text!r})\n")


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels that another test has built already: the tests of the host do not care who built them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cold(place: Place, tmp_path: Path) -> Place:
    """The same with a cache of its own, in which nothing is built yet."""
    return replace(place, cache=tmp_path / "cache")


@pytest.fixture
def place(tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """One checkout and one host a test."""
    made = Place(tmp_path / "checkout", warm_cache, tmp_path / "host")
    (made.root / "src/sensmail").mkdir(parents=True)
    made.host.mkdir()
    (made.root / "pyproject.toml").write_text(PYPROJECT)
    made.edit("first")
    index = tmp_path / "index"
    index.mkdir()
    digest = _dependency(index / "depend-1.0-py3-none-any.whl")
    made.lock.write_text(f"depend==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    # the pip of this environment, unpacked, stands for the wheel of the distribution
    monkeypatch.setattr(release_store, "PIP_WHEELS", str(Path(pip.__file__).parents[1]))
    return made


def _dependency(path: Path) -> str:
    info = "depend-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("depend.py", "VALUE = 1\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: depend\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"depend.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()
