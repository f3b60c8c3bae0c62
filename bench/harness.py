"""One harness for every benchmark: register, run best of three, write build/bench.json.

A benchmark is a function that measures both of its sides and returns a `Figure`. A figure of an earlier run stays in
the file until it is measured again, so that one benchmark can be run by name.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "build" / "bench.json"
ROUNDS = 3


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        unit: of `runs` and `baseline_runs`, for example s or rows/s.
        runs: every measurement of ours; the best is the value.
        baseline_runs: every measurement of the other side; empty where there is none.
        higher_is_better: whether the best is the largest.
        notes: what else a reader must know, such as machine and load.
    """

    unit: str
    runs: Sequence[float]
    baseline_runs: Sequence[float] = ()
    higher_is_better: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The form that build/bench.json holds; `ratio` is value over baseline."""
        best = max if self.higher_is_better else min
        value = best(self.runs)
        baseline = best(self.baseline_runs) if self.baseline_runs else None
        return {
            "value": round(value, 3),
            "unit": self.unit,
            "baseline": None if baseline is None else round(baseline, 3),
            "ratio": None if baseline is None else round(value / baseline, 3),
            "runs": [round(run, 3) for run in self.runs],
            "baseline_runs": [round(run, 3) for run in self.baseline_runs],
            **self.notes,
        }


Benchmark = Callable[[], dict[str, Figure]]
BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name: str) -> Callable[[Benchmark], Benchmark]:
    """Register a function under `name`; it returns one figure or several by their names."""

    def register(function: Benchmark) -> Benchmark:
        BENCHMARKS[name] = function
        return function

    return register


def stopwatch(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def record(figures: dict[str, Figure]) -> None:
    """Put figures into build/bench.json beside those of other benchmarks."""
    RESULT.parent.mkdir(exist_ok=True)
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    known.update({name: figure.to_dict() for name, figure in figures.items()})
    RESULT.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> int:
    """The command line; prints each figure as it is known."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            importlib.import_module(f"bench.{module.name}")  # registers its benchmarks

    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"== {name} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)
        figures = BENCHMARKS[name]()
        record(figures)
        for key, figure in figures.items():
            print(f"{key}: {json.dumps(figure.to_dict())}", flush=True)
    print(f"written: {RESULT.relative_to(ROOT)}")
    return 0
