"""What the tests of this directory know of the host."""

from __future__ import annotations

from sensmail.custody import credentials
from sensmail.custody.setup import Layout
from sensmail.keys import FileRoot


def root_key(layout: Layout) -> FileRoot:
    """The newest root key of the host."""
    assert layout.root
    return FileRoot(layout.root / str(credentials.generations(layout.root)[-1]))
