"""A real key service for the accounts: one process a session, with the shipped policy, asked by the administrator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensmail.accounts import sealing
from sensmail.keyd import policy
from sensmail.policy import applied_document, load
from sensmail.store import SUPERUSER, Settings, connect
from sensmail.store.roles import OWNER, grant_steps
from unit.keyd.conftest import Site, make_site

POLICY = Path(__file__).parents[3] / "inventories/local/group_vars/all/policy.yml"


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """What the shipped policy leaves in /etc/sensmail/policy.json."""
    return applied_document(load(POLICY))


@pytest.fixture(scope="session")
def key_site(server: Settings, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A key service that runs, with a database of its own for its records."""
    own = replace(server, name="records_of_keyd")
    with connect(SUPERUSER, settings=server, database="postgres") as admin:
        admin.execute(f"CREATE DATABASE {own.name} OWNER {OWNER} TEMPLATE {server.name}")
        for step in grant_steps(admin, own.name):
            admin.execute(step.statement)
    site = make_site(tmp_path_factory.mktemp("keyd") / "k", own)
    site.unit = "session"
    site.policy(document)
    site.start()
    yield site
    site.stop()


@pytest.fixture(autouse=True)
def on_this_host(key_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the key service of this host."""
    monkeypatch.setattr(sealing, "SOCKET", key_site.socket)
    monkeypatch.setattr(policy, "PATH", key_site.home / "policy.json")


@pytest.fixture
def nothing_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key service of this host does not run."""
    monkeypatch.setattr(sealing, "SOCKET", tmp_path / "no-socket")


@pytest.fixture
def policy_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, document: dict[str, Any]) -> None:
    """The applied policy does not know the emergency address."""
    columns = [each for each in document["data_map"] if each["item"] != "emergency_email"]
    (tmp_path / "policy.json").write_text(json.dumps(document | {"data_map": columns}))
    monkeypatch.setattr(policy, "PATH", tmp_path / "policy.json")
