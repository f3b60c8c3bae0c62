"""The harness reports the best of each side, keeps every run, and leaves other figures alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import harness
from bench.harness import Figure


def test_the_best_is_the_least_time() -> None:
    row = Figure("s", [3.0, 2.0, 4.0], [1.0, 2.5]).to_dict()
    assert (row["value"], row["baseline"], row["ratio"]) == (2.0, 1.0, 2.0)
    assert (row["runs"], row["baseline_runs"]) == ([3.0, 2.0, 4.0], [1.0, 2.5])


def test_the_best_is_the_highest_rate() -> None:
    row = Figure("rows/s", [30.0, 20.0], [10.0, 5.0], higher_is_better=True).to_dict()
    assert (row["value"], row["baseline"], row["ratio"]) == (30.0, 10.0, 3.0)


def test_without_a_baseline_there_is_no_ratio() -> None:
    row = Figure("s", [3.0]).to_dict()
    assert row["baseline"] is None
    assert row["ratio"] is None


def test_figures_of_other_benchmarks_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULT", tmp_path / "build" / "bench.json")
    harness.record({"a": Figure("s", [1.0])})
    harness.record({"b": Figure("s", [2.0])})
    harness.record({"a": Figure("s", [3.0])})
    kept = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert {name: row["value"] for name, row in kept.items()} == {"a": 3.0, "b": 2.0}
