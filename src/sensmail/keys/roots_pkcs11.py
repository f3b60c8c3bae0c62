"""A root key that never leaves a PKCS#11 token. Needs the package `python-pkcs11`.

A hardware token destroys in hardware. SoftHSM2 keeps its objects in files and so counts as software: the caller says
which it is, because the token's own answer cannot be trusted for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import GCMParams

from sensmail.keys.errors import RootUnavailable, WrongRoot
from sensmail.keys.material import NONCE_BYTES
from sensmail.keys.roots import Destruction

HARDWARE = Destruction("hardware", "The token deletes the key object; by its certification no copy is left in it.")
SOFTWARE_TOKEN = Destruction(
    "software",
    "The token is software: it unlinks its object file, whose blocks may stay readable on the disk and in snapshots.",
)
DESTRUCTIONS: dict[str, Destruction] = {each.name: each for each in (HARDWARE, SOFTWARE_TOKEN)}

# SoftHSM2 answers a failed tag with CKR_GENERAL_ERROR, other tokens with one of the first two.
_NOT_OPENED = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.ArgumentsBad, pkcs11.GeneralError)

_PIN = "enter the right PIN on the host (roles/keys/README.md); a token locks itself after a few wrong ones"
_FIXES: tuple[tuple[type[Exception], str], ...] = (
    (pkcs11.PinIncorrect, f"the PIN is wrong: {_PIN}"),
    (pkcs11.PinLenRange, f"the PIN is wrong: {_PIN}"),
    (pkcs11.PinLocked, "the PIN is locked after too many wrong ones: the token's security officer unlocks it"),
    (pkcs11.NoSuchToken, "the token is not there: is it plugged in, and is its label right?"),
    (RuntimeError, "the module cannot be loaded: install the package that holds it (keys_packages)"),
)


class Pkcs11Root:
    """An AES-256 key, sensitive and not extractable, in one token. Each call logs in and out again."""

    provider = "pkcs11"
    slot_part: Literal["wrapped", "recovery"] = "wrapped"

    def __init__(self, module: Path, token: str, label: str, pin: str, destruction: Destruction) -> None:
        self.destruction = destruction
        self._module, self._token, self._label, self._pin = module, token, label, pin

    def __repr__(self) -> str:
        return f"Pkcs11Root({self._token!r}, {self._label!r})"

    def make(self) -> None:
        """Generate the key inside the token, with a random id.

        Raises:
            RootUnavailable: the token does not answer, or holds a key of this label already.
        """
        with self._session(writable=True) as session:
            if self._objects(session):
                raise RootUnavailable(f"{self}: the token holds a key of this label already; choose another label")
            template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True}
            session.generate_key(KeyType.AES, 256, id=os.urandom(16), label=self._label, store=True, template=template)

    def identity(self) -> bytes:
        """The random id that the key got when it was made."""
        with self._key() as key:
            return bytes(key.id)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """AES-256-GCM inside the token; the result is nonce, ciphertext, tag."""
        nonce = os.urandom(NONCE_BYTES)
        with self._key() as root:
            sealed = root.encrypt(key, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, context, 128))
            return nonce + bytes(sealed)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key that `wrap` took."""
        params = GCMParams(wrapped[:NONCE_BYTES], context, 128)
        with self._key() as root:
            try:
                return bytes(root.decrypt(wrapped[NONCE_BYTES:], mechanism=Mechanism.AES_GCM, mechanism_param=params))
            except _NOT_OPENED:
                raise WrongRoot(f"{self}: this key does not open the epoch key, or the slot was changed") from None

    def destroy(self) -> None:
        """Delete the key object."""
        with self._session(writable=True) as session:
            found = self._objects(session)
            if not found:
                raise RootUnavailable(f"{self}: the token holds no key of this label")
            for each in found:
                each.destroy()

    def gone(self) -> bool:
        """Whether the token answers, lets us in, and holds no key of this label."""
        with self._session() as session:
            return not self._objects(session)

    @contextmanager
    def _key(self) -> Iterator[Any]:
        with self._session() as session:
            found = self._objects(session)
            if len(found) != 1:
                raise RootUnavailable(f"{self}: the token holds {len(found)} keys of this label; one is needed")
            yield found[0]

    def _objects(self, session: pkcs11.Session) -> list[Any]:
        """Any: the library gives objects their methods by mixins that its types do not tell."""
        return list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._label}))

    @contextmanager
    def _session(self, *, writable: bool = False) -> Iterator[pkcs11.Session]:
        try:
            token = pkcs11.lib(str(self._module)).get_token(token_label=self._token)
            with token.open(rw=writable, user_pin=self._pin) as session:
                yield session
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            reason = type(error).__name__ if not str(error) else f"{type(error).__name__}: {error}"
            fix = next((text for kind, text in _FIXES if isinstance(error, kind)), "check the token and its label")
            raise RootUnavailable(f"{self}: {self._module}: {reason}; {fix}") from error
