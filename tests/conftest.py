"""What every suite shares: the machine under test, and its journal where a test of it failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import machine as machines
import stage

JOURNAL = "journalctl --boot --no-pager --output=short-precise --lines=20000"


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[machines.Machine]:
    """The deployed machine that `SENSMAIL_MACHINE` names (default: that of `make up`)."""
    try:
        found = machines.find()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)
    yield found
    if request.session.testsfailed:
        sudo = "" if found.user == "root" else "sudo "
        stage.LOGS.mkdir(parents=True, exist_ok=True)
        (stage.LOGS / f"{found.name}-journal.log").write_text(found.run(sudo + JOURNAL, check=False).stdout)
