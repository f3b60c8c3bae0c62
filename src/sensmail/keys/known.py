"""A root whose name is remembered, so that it is known also while its provider does not answer."""

from __future__ import annotations

from typing import Literal

from sensmail.keys.errors import WrongRoot
from sensmail.keys.roots import Destruction, Root


class KnownRoot:
    """Another root under the identity that it had when it came into use. It never wraps by another key than that."""

    def __init__(self, root: Root, identity: bytes) -> None:
        self._root, self._identity = root, identity
        self.provider: str = root.provider
        self.destruction: Destruction = root.destruction
        self.slot_part: Literal["wrapped", "recovery"] = root.slot_part

    def __repr__(self) -> str:
        return f"KnownRoot({self._root!r}, {self._identity.hex()})"

    def identity(self) -> bytes:
        """The remembered one; asks nobody."""
        return self._identity

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """As the root, which is asked who it is first: a slot must name the key that wrapped it."""
        found = self._root.identity()
        if found != self._identity:
            text = f"{self._root!r}: holds root {found.hex()} now, where {self._identity.hex()} was in use"
            raise WrongRoot(f"{text}; bring that key back, or change the root by `sensmail keys rotate --now root`")
        return self._root.wrap(key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As the root."""
        return self._root.unwrap(wrapped, context)

    def destroy(self) -> None:
        """As the root."""
        self._root.destroy()

    def gone(self) -> bool:
        """As the root."""
        return self._root.gone()
