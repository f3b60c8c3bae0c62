"""Public SSH keys: which are accepted, and which an authorized_keys file holds. Source: sshd(8), AUTHORIZED_KEYS."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from sensmail.rights.errors import InvalidRight

_RSA_BITS = 3072
_KEY = re.compile(r"(?<![^\s,])((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+)\s+(AAAA[0-9A-Za-z+/]+={0,3})(?!\S)")


def normal(text: str) -> str:
    """Type and key, without options and comment.

    Raises:
        InvalidRight: no single public key, or one that is too weak.
    """
    fix = "give the one line of a .pub file, such as that of `ssh-keygen -t ed25519`"
    found = _KEY.match(text)
    if found is None or "\n" in text.strip():
        raise InvalidRight(f"public_keys: {_short(text)} is no public SSH key; {fix}")
    key = f"{found[1]} {found[2]}"
    try:
        loaded = load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRight(f"public_keys: {_short(text)} is no public SSH key ({error}); {fix}") from None
    if isinstance(loaded, DSAPublicKey) or (isinstance(loaded, RSAPublicKey) and loaded.key_size < _RSA_BITS):
        raise InvalidRight(f"public_keys: {fingerprint(key)} is too weak; use ed25519, or RSA with {_RSA_BITS} bits")
    return key


def authorized(text: str) -> Iterator[str]:
    """Type and key of each line of an authorized_keys file; a line that holds none stands for itself."""
    for line in text.splitlines():
        words = line.strip()
        if words and not words.startswith("#"):
            found = _KEY.search(words)
            yield f"{found[1]} {found[2]}" if found else f"line: {_short(words)}"


def fingerprint(term: str) -> str:
    """How people compare a key: SHA256 in base64, as ssh-keygen -l prints it. Anything else stays as it is."""
    found = _KEY.fullmatch(term)
    if found is None:
        return term
    try:
        digest = hashlib.sha256(base64.b64decode(found[2], validate=True)).digest()
    except ValueError:
        return _short(term)
    return f"{found[1]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _short(text: str) -> str:
    clean = "".join(sign if sign.isprintable() else "?" for sign in text.strip())
    return repr(clean if len(clean) <= 40 else f"{clean[:39]}…")
