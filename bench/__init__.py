"""Figures against their baselines, measured in the same minutes: `python -m bench [NAME …]` writes build/bench.json."""
