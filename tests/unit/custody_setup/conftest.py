"""A host on which keys can be set up: directories, a stand-in for systemd-creds, and a root key that lies in clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sensmail.custody import credentials, setup
from sensmail.custody.create import create
from sensmail.custody.setup import Layout
from sensmail.host import systemd
from sensmail.keys import Place
from unit.custody_setup.host import root_key


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Empty directories of a host that role keys has just been to."""
    for name in ("keys/root", "keys/secrets", "first", "second"):
        (tmp_path / name).mkdir(parents=True, mode=0o700)
    program = tmp_path / "systemd-creds"
    program.write_text("#!/bin/sh\nexec cat\n")  # so that the root key on the disk can be opened here
    program.chmod(0o755)
    (tmp_path / "swaps").write_text("Filename Type Size Used Priority\n")
    monkeypatch.setattr(systemd, "SYSTEMD_CREDS", str(program))
    monkeypatch.setattr(setup, "SWAPS", tmp_path / "swaps")
    keys = tmp_path / "keys"
    monkeypatch.setattr(setup, "make_root", lambda generation: credentials.make_root(generation, keys / "root"))
    places = (tmp_path / "first", tmp_path / "second")
    configuration = tmp_path / "keyd.toml"
    configuration.write_text(f'places = ["{places[0]}", "{places[1]}"]\n[root]\nprovider = "file"\n')
    return Layout(places, keys / "root", (), keys / "secrets", keys / "initialised", configuration)


@pytest.fixture
def make_file(layout: Layout) -> Callable[[], None]:
    """What the unit sensmail-keyd-setup.service does."""

    def run() -> None:
        create([Place(each) for each in layout.places], [root_key(layout)])

    return run
