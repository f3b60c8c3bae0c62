"""A root that hangs, as tokens and networks do, becomes a root that is unavailable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, TypeVar

from sensmail.keys.errors import RootUnavailable
from sensmail.keys.roots import Destruction, Root

Result = TypeVar("Result")


class TimedRoot:
    """Every call of another root, one at a time, each within `seconds`.

    A call that hangs cannot be stopped: its thread stays, and later calls wait for it and fail in the same time. So a
    dead token costs one thread, however often it is asked.
    """

    def __init__(self, root: Root, seconds: float) -> None:
        self._root, self._seconds = root, seconds
        self._free = threading.Lock()
        self.provider: str = root.provider
        self.destruction: Destruction = root.destruction
        self.slot_part: Literal["wrapped", "recovery"] = root.slot_part
        make: Callable[[], None] | None = getattr(root, "make", None)
        self.make = make and (lambda: self._within(make))  # a token makes its key itself

    def __repr__(self) -> str:
        return f"TimedRoot({self._root!r}, {self._seconds})"

    def identity(self) -> bytes:
        """As the root; raises RootUnavailable also when it takes too long, as do the others."""
        return self._within(self._root.identity)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """As the root."""
        return self._within(lambda: self._root.wrap(key, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As the root."""
        return self._within(lambda: self._root.unwrap(wrapped, context))

    def destroy(self) -> None:
        """As the root. After a time-out it is not known whether the key is destroyed."""
        self._within(self._root.destroy)

    def gone(self) -> bool:
        """As the root."""
        return self._within(self._root.gone)

    def _within(self, call: Callable[[], Result]) -> Result:
        done = threading.Event()
        results: list[Result] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as failure:  # raised again in the caller's thread
                failures.append(failure)
            finally:
                self._free.release()
                done.set()

        if not self._free.acquire(timeout=self._seconds):
            raise RootUnavailable(f"{self._root!r}: an earlier call still hangs; check the provider, then restart")
        threading.Thread(target=run, daemon=True).start()
        if not done.wait(self._seconds):
            raise RootUnavailable(f"{self._root!r}: no answer within {self._seconds:g} s; check the provider")
        for failure in failures:
            raise failure
        return results[0]
