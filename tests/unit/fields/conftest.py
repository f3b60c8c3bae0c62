"""The vectors, which live beside the document's other examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="session")
def envelope_vectors() -> list[dict[str, Any]]:
    """The examples of section "Envelope"."""
    loaded = json.loads((VECTORS / "envelope.json").read_text())["vectors"]
    assert isinstance(loaded, list)
    return loaded
