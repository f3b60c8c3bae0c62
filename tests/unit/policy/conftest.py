"""The shipped policy, and ways to spoil it and to look at what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sensmail.policy import Loaded, PolicyError, Problem, load, loads

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    """The working copy."""
    return ROOT


@pytest.fixture(scope="session")
def shipped_path() -> Path:
    """The policy file that is shipped."""
    return ROOT / "inventories/local/group_vars/all/policy.yml"


@pytest.fixture(scope="session")
def text(shipped_path: Path) -> str:
    """Its text."""
    return shipped_path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shipped(shipped_path: Path) -> Loaded:
    """The shipped policy, loaded."""
    return load(shipped_path, "policy.yml")


@pytest.fixture(scope="session")
def spoil(text: str) -> Callable[..., str]:
    """Replace parts of the policy, each of which must stand in it: takes pairs (old, new)."""

    def replaced(*changes: tuple[str, str]) -> str:
        spoilt = text
        for old, new in changes:
            assert old in spoilt, f"the shipped policy no longer holds {old!r}"
            spoilt = spoilt.replace(old, new, 1)
        return spoilt

    return replaced


@pytest.fixture(scope="session")
def refused() -> Callable[[str | bytes], tuple[Problem, ...]]:
    """Load a policy that must be refused, and return its problems."""

    def problems(policy: str | bytes) -> tuple[Problem, ...]:
        raw = policy.encode() if isinstance(policy, str) else policy
        with pytest.raises(PolicyError) as caught:
            loads(raw, "policy.yml")
        return caught.value.problems

    return problems
