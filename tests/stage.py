"""Run one long command of a test: its output is kept in build/logs, shown as it comes, and quoted when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "logs"
TAIL_LINES = 60


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with the virtual environment's programs first."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PY_COLORS": "0", "ANSIBLE_FORCE_COLOR": "0", **(extra or {})}


def run(name: str, *command: str, shown: bool = False, extra: Mapping[str, str] | None = None) -> str:
    """Run `command` in the checkout and return what it wrote (both streams).

    Args:
        name: of its log, `build/logs/<name>.log`.
        command: program and arguments.
        shown: whether the output also goes to the terminal, past pytest's capture.
        extra: environment variables to add.

    Raises:
        pytest.fail.Exception: it ended with another status than 0; the text holds the last lines.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            if shown:
                sys.__stderr__.write(line)  # type: ignore[union-attr]
    if process.returncode:
        tail = "".join(lines[-TAIL_LINES:])
        pytest.fail(f"{' '.join(command)}\nended with {process.returncode}; whole log: {log}\n{tail}", pytrace=False)
    return "".join(lines)
