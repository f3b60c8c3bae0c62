"""The independent decoder and the vectors, which live beside the document's other examples."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="session")
def decoder() -> ModuleType:
    """tests/vectors/decoder.py, loaded by path: it belongs to no package."""
    spec = importlib.util.spec_from_file_location("formats_decoder", VECTORS / "decoder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def envelope_vectors() -> list[dict[str, Any]]:
    """The examples of section "Envelope"."""
    loaded = json.loads((VECTORS / "envelope.json").read_text())["vectors"]
    assert isinstance(loaded, list)
    return loaded
