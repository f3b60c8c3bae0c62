"""What every suite shares: the machine under test."""

from __future__ import annotations

import pytest

import machine as machines


@pytest.fixture(scope="session")
def machine() -> machines.Machine:
    """The deployed machine that `SENSMAIL_MACHINE` names (default: that of `make up`)."""
    try:
        return machines.find()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)
