"""Two hosts and what happened on them; SENSMAIL_ERASURE_PAIR=a,b names two deployed machines to use and keep."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine as machines
from erasure.pair import Host, deploy
from erasure.story import Story, Teller


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Host, Host]]:
    """The first host has a disk of its own (ext4), which tests look at from outside."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    given = os.environ.get("SENSMAIL_ERASURE_PAIR", "")
    names = given.split(",") if given else [f"era{os.getpid() % 100_000}", f"erb{os.getpid() % 100_000}"]
    if not given:
        machines.tool("create", "--root", "ext4", names[0])
        machines.tool("create", names[1])
        deploy(*names)
    hosts = Host(machines.find(names[0])), Host(machines.find(names[1]))
    for host in hosts:
        host.allow_openings()
    yield hosts
    if not given and not request.session.testsfailed:
        machines.tool("remove", *names)


@pytest.fixture(scope="session")
def teller(pair: tuple[Host, Host], tmp_path_factory: pytest.TempPathFactory) -> Teller:
    """Has told the story on the first host."""
    one = Teller(pair[0], tmp_path_factory.mktemp("officers"))
    one.tell()
    return one


@pytest.fixture(scope="session")
def story(teller: Teller) -> Story:
    """What happened on the first host."""
    return teller.story


@pytest.fixture(scope="session")
def recovered(pair: tuple[Host, Host], teller: Teller, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The second host, with the keys of the first: from the copy, by two officers, without its root key."""
    second, copy = pair[1], tmp_path_factory.mktemp("copy")
    unpack(copy, teller.story.copy)
    pieces = teller.pieces(copy)
    second.put("/run/copy", teller.story.copy)
    for path in pieces:
        second.run(f"umask 077; cat > /run/{path.name}", path.read_bytes())
    why = "--reason 'host lost' --approver privacy_officer"
    teller.story.said.append(second.run(f"sensmail keys recover /run/copy /run/one.piece /run/two.piece {why}"))
    return second


def unpack(directory: Path, archive: bytes) -> None:
    """A tar archive into a directory here."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(directory, filter="data")
