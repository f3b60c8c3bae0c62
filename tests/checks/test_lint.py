"""Style, types, layers and specifications: each tool is one test, its output in build/logs."""

from __future__ import annotations

import sys

import pytest

import stage

TOOLS = {
    "ruff": ("ruff", "check"),
    "format": ("ruff", "format", "--check"),
    "mypy": ("mypy",),
    "yamllint": ("yamllint", "--strict", "."),
    "ansible-lint": ("ansible-lint", "--offline", "--profile", "production"),
    "layers": ("lint-imports",),
    "specs": (sys.executable, "tools/check_specs.py"),
    "changelog": ("antsibull-changelog", "lint"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_clean(tool: str) -> None:
    stage.run(tool, *TOOLS[tool])
