"""Make, prove and destroy one root key at its provider: `python -m sensmail.custody.root_key`.

Started by a root change as unit sensmail-keyd-provider.service: with the account, the credentials and the sandbox of
the key service, because a token's files belong to that account, and PIN and access keys reach units only. What to do
lies in memory (STAGE); it names settings and never a secret.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from sensmail.host.hardening import HardeningError, harden
from sensmail.keyd.settings import credentials
from sensmail.keys import KeyFailure, Root
from sensmail.keys.errors import RootUnavailable, WrongRoot
from sensmail.keys.material import KEY_BYTES
from sensmail.keys.provider import make_roots

STAGE = Path("/run/sensmail-keyd-provider")
REQUEST, RESULT = "request.json", "result.json"
_CONTEXT = b"sensmail root canary v1"


class Request(msgspec.Struct, frozen=True):
    """What to do with which root.

    `prepare`: see that there is a key, and that it wraps and opens. `prove`: that this very key still opens.
    `destroy`: that this very key is gone.
    """

    act: Literal["prepare", "prove", "destroy"]
    table: dict[str, Any]
    identity: str = ""  # hexadecimal; which key is meant


class Answer(msgspec.Struct, frozen=True):
    """What came of it; `error` is all there is when it failed."""

    identity: str = ""
    destruction: str = ""
    done: bool = False  # a key was made, or destroyed; False where that had been done before
    error: str = ""


def carry_out(root: Root, ask: Request) -> Answer:
    """Do it; again, it does nothing.

    Raises:
        RootUnavailable: the provider does not answer, or does not do it. WrongRoot: it holds another key.
    """
    done = False
    if ask.act == "destroy":
        if not root.gone():
            _require(root, ask.identity)
            root.destroy()
            done = True
            if not root.gone():
                raise RootUnavailable(f"{root!r}: the provider took the request, but still holds the key; repeat")
        return Answer(ask.identity, root.destruction.name, done)
    make = getattr(root, "make", None)  # a token makes its key itself
    if ask.act == "prepare" and make is not None and root.gone():
        make()
        done = True
    if root.gone():
        raise RootUnavailable(f"{root!r}: the provider holds no such key, or holds it for deletion only")
    if ask.identity:
        _require(root, ask.identity)
    canary = os.urandom(KEY_BYTES)
    if root.unwrap(root.wrap(canary, _CONTEXT), _CONTEXT) != canary:
        raise WrongRoot(f"{root!r}: does not open what it wrapped")
    return Answer(root.identity().hex(), root.destruction.name, done)


def _require(root: Root, identity: str) -> None:
    found = root.identity().hex()
    if found != identity:
        raise WrongRoot(f"{root!r}: holds root {found}, and {identity} was meant; nothing was changed")


def main(stage: Path = STAGE) -> int:
    """Read the request, carry it out, leave the answer. Exit code 1 when it failed."""
    try:
        harden()
        ask = msgspec.json.decode((stage / REQUEST).read_bytes(), type=Request)
        (root,) = make_roots(ask.table, credentials())
        answer = carry_out(root, ask)
    except (KeyFailure, HardeningError, msgspec.MsgspecError, OSError) as error:
        answer = Answer(error=f"{error}")
    (stage / RESULT).write_bytes(msgspec.json.encode(answer))
    return 1 if answer.error else 0


if __name__ == "__main__":
    sys.exit(main())
