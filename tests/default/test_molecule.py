"""The molecule scenario `default`, step by step, so that every check on its machine counts in one report.

The machine stays for tests/host, tests/mail and whoever looks after a failure; it goes with a session that passed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import stage


@pytest.fixture(scope="session", autouse=True)
def scenario(request: pytest.FixtureRequest) -> Iterator[None]:
    stage.run("molecule-destroy", "molecule", "destroy", "-s", "default")
    yield
    if not request.session.testsfailed:
        stage.run("molecule-destroy", "molecule", "destroy", "-s", "default")


def test_converge(request: pytest.FixtureRequest) -> None:
    """From a bare machine to a mail host."""
    try:
        stage.run("molecule-converge", "molecule", "converge", "-s", "default", shown=True)
    except pytest.fail.Exception:
        request.session.shouldfail = "the default scenario does not converge: nothing that follows could be judged"
        raise


def test_idempotence() -> None:
    """A second run changes nothing."""
    stage.run("molecule-idempotence", "molecule", "idempotence", "-s", "default", shown=True)
