"""The controller's half: one round trip when the host has the release, nothing built in check mode."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sensmail.cloud.plugins.action import engine_release as action
from ansible_collections.sensmail.cloud.plugins.modules import engine_release as module

from .conftest import VERSION, Place


class Host:
    """Answers as the module would, with a real store, and counts the calls."""

    def __init__(self, place: Place, check: bool) -> None:
        self.calls: list[dict[str, Any]] = []
        self.params: dict[str, Any] = {}
        self.check_mode = check
        self._place = place

    def run(self, arguments: dict[str, Any], _: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        self.params = arguments
        result: dict[str, Any] = module.release(self)  # it reads params and check_mode only
        return result


@pytest.fixture
def ansible(place: Place, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the action against the host of `place`; returns its result and the calls of the module."""

    def run(check: bool = False) -> tuple[dict[str, Any], int]:
        host = Host(place, check)
        plugin = object.__new__(action.ActionModule)
        plugin._task = type("Task", (), {"check_mode": check})()
        arguments = {"root": str(place.host / "opt"), "command": str(place.host / "sensmail"), "archive": None}
        arguments["python"] = subprocess.run(
            ["which", f"python{VERSION}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        monkeypatch.setattr(plugin, "_module", host.run, raising=False)
        monkeypatch.setattr(plugin, "validate_argument_spec", lambda argument_spec: (None, arguments), raising=False)
        monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
        monkeypatch.setattr(action, "ROOT", place.root)
        monkeypatch.setattr(action, "default_cache", lambda: place.cache)
        monkeypatch.setattr(
            plugin,
            "_install",
            lambda given, archive, variables: host.run({**given, "archive": str(archive)}, variables),
            raising=False,
        )
        return plugin.run(None, {}), len(host.calls)

    return run


def test_new_host_then_nothing_to_do(place: Place, ansible: Any) -> None:
    first, calls = ansible()
    assert (first["changed"], first["absent"], calls) == (True, False, 2)
    assert first["diff"] == {"before": "engine release none\n", "after": f"engine release {place.digest}\n"}
    again, calls = ansible()
    assert (again["changed"], again["diff"], calls) == (False, {}, 1)


def test_check_mode_builds_nothing(place: Place, ansible: Any, tmp_path: Path) -> None:
    place.edit("never built")
    check, calls = ansible(check=True)
    assert (check["changed"], check["absent"], calls) == (True, True, 1)
    assert not (place.host / "opt").exists()
    assert not list((place.cache / "release").glob(f"{place.digest}*"))


def test_way_back_sends_nothing(place: Place, ansible: Any) -> None:
    ansible()
    old = (place.root / "src/sensmail/__init__.py").read_text()
    place.edit("second")
    ansible()
    (place.root / "src/sensmail/__init__.py").write_text(old)
    current = place.store.state().current
    announced, _ = ansible(check=True)
    assert (announced["changed"], place.store.state().current) == (True, current)
    back, calls = ansible()
    assert (back["changed"], calls) == (True, 1)
    assert (back["diff"], place.store.state().current) == (announced["diff"], place.digest)


def test_host_whose_python_has_no_lock(place: Place, ansible: Any) -> None:
    place.lock.rename(place.root / "requirements-engine-py399.txt")
    with pytest.raises(
        module.ReleaseError, match=rf"no lock .* Python {VERSION} of this host \(there are locks for: 3.99\)"
    ):
        ansible()
