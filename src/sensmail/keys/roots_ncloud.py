"""A root key in NAVER Cloud's KMS 2.0, zone for public institutions. Needs the package `urllib3`.

The key never leaves the KMS: it encrypts the epoch key at every roll and decrypts it at every start. A key without
convergent encryption takes no context, so the context's digest is encrypted together with the epoch key and compared
after decryption. Every call is bounded in time; what may pass (throttling, a busy server, a broken connection) is tried
again, signed anew. Nothing here was tried against the real service: the tests use a strict imitation of its documents.
"""

from __future__ import annotations

import base64
import hmac
import json
import random
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import urllib3

from sensmail.keys.errors import RootUnavailable, SettingsError, WrongRoot
from sensmail.keys.material import KEY_BYTES
from sensmail.keys.roots import Destruction

GOV = "https://ocapi.gov-ncloud.com"
SCHEDULED = Destruction(
    "software",
    "The provider deletes the key 72 hours after the request, and until then its account can take the request back. "
    "That no copy is left then is the provider's word; its effect was not checked against the real service.",
)
_PREFIX = "ncpkms:"
_REVOKED = "REVOKE"  # waits for its deletion; the others are ENABLE and DISABLE
_MAX_ANSWER = 65_536  # bytes
_FIRST_PAUSE = 0.2  # seconds; doubles with every attempt
_PASSING = {429, 500, 502, 503, 504}


class _KeyUnknown(RootUnavailable):
    """The KMS answers that it has no key of this tag."""


class NcloudKmsRoot:
    """An AES-256 key without convergent encryption, named by its key tag, used by account authentication."""

    provider = "ncloud_kms"
    destruction = SCHEDULED
    slot_part: Literal["wrapped", "recovery"] = "wrapped"

    def __init__(
        self,
        endpoint: str,
        key_tag: str,
        access_key: str,
        secret_key: str,
        *,
        seconds: float = 20.0,
        ca_file: Path | None = None,
    ) -> None:
        """Does not connect yet.

        Args:
            endpoint: `https://host`, without a path.
            key_tag: names the key; not secret.
            access_key: of a sub-account that may use this key only.
            secret_key: belongs to the access key; signs, and is never sent.
            seconds: bound on one call with all its attempts.
            ca_file: certificates to trust instead of the system's.

        Raises:
            SettingsError: the endpoint is not https, or the key tag is empty.
        """
        parts = urlsplit(endpoint)
        if parts.scheme != "https" or not parts.netloc or parts.path.strip("/") or parts.query:
            raise SettingsError(f"endpoint {endpoint!r}: must be https://host, for example {GOV}")
        if not key_tag:
            raise SettingsError("key_tag is empty; take it from the list of keys in the console")
        self._base, self._tag = f"https://{parts.netloc}", key_tag
        self._access_key, self._secret_key, self._seconds = access_key, secret_key.encode(), seconds
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=1, retries=False, cert_reqs="CERT_REQUIRED", ca_certs=str(ca_file) if ca_file else None
        )

    def __repr__(self) -> str:
        return f"NcloudKmsRoot({self._base!r}, {self._tag!r})"

    def identity(self) -> bytes:
        """From the key tag, which stays when the KMS rotates the key; needs no call."""
        return sha256(b"sensmail ncloud kms root id v1\0" + self._tag.encode()).digest()[:16]

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The ciphertext of key and context, as the KMS writes it: ASCII that begins with the version of its key."""
        together = base64.b64encode(key + sha256(context).digest()).decode()
        ciphertext = self._text(self._call("encrypt", {"plaintext": together}), "ciphertext")
        if not ciphertext.startswith(_PREFIX) or not ciphertext.isascii():
            raise RootUnavailable(f"{self}: encrypt: the answer is no ciphertext of this service")
        return ciphertext.encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key that `wrap` took."""
        wrong = WrongRoot(f"{self}: this key does not open the epoch key, or the slot was changed")
        if not wrapped.startswith(_PREFIX.encode()) or not wrapped.isascii():
            raise wrong
        answer = self._text(self._call("decrypt", {"ciphertext": wrapped.decode()}), "plaintext")
        try:
            together = base64.b64decode(answer, validate=True)
        except ValueError:
            raise RootUnavailable(f"{self}: decrypt: the answer is not base64") from None
        key, bound = together[:KEY_BYTES], together[KEY_BYTES:]
        if len(key) != KEY_BYTES or not hmac.compare_digest(bound, sha256(context).digest()):
            raise wrong
        return key

    def destroy(self) -> None:
        """Request the key's deletion, which happens 72 hours later."""
        self._call("request-deletion", None)

    def gone(self) -> bool:
        """Whether the key waits for its deletion (status REVOKE), or is deleted: the KMS knows it no longer."""
        try:
            return self._text(self._call("", None), "status") == _REVOKED
        except _KeyUnknown:
            return True

    def _text(self, data: Mapping[str, Any], name: str) -> str:
        value = data.get(name)
        if not isinstance(value, str) or not value:
            raise RootUnavailable(f"{self}: the answer has no {name}; is this KMS 2.0?")
        return value

    def _call(self, verb: str, body: Mapping[str, str] | None) -> Mapping[str, Any]:
        """One request and, while something passing is in the way, further attempts; the answer's `data`.

        `verb` is the last part of the path; an empty one asks for the key's own information.
        """
        end, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            status, answer, reason = self._attempt(verb, body, end - time.monotonic())
            if status == 200 and isinstance(answer.get("data"), dict) and answer.get("code") == "SUCCESS":
                return dict(answer["data"])
            reason = f"{verb or 'key info'}: {reason or _reason(status, answer)}"
            if verb == "decrypt" and status == 400:
                raise WrongRoot(f"{self}: {reason}; it was encrypted by another key, or the slot was changed")
            if status is not None and status not in _PASSING:
                # Only the service itself knows keys; the gateway before it says 404 to a wrong path.
                kind = _KeyUnknown if status == 404 and "responseError" in answer else RootUnavailable
                raise kind(f"{self}: {reason}; {_FIXES.get(status, 'check endpoint and key tag')}")
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait >= end:
                raise RootUnavailable(f"{self}: {reason}; gave up after {self._seconds:g} s, try again later")
            time.sleep(wait)
            pause *= 2

    def _attempt(
        self, verb: str, body: Mapping[str, str] | None, seconds: float
    ) -> tuple[int | None, Mapping[str, Any], str]:
        """Status, JSON object and no reason; or no status, nothing and the reason why no answer came."""
        method = "POST" if verb else "GET"
        path = f"/kms/v1/keys/{quote(self._tag, safe='')}" + (f"/{verb}" if verb else "")
        headers = self._signed(method, path)
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        try:
            status, content = self._exchange(method, path, data, headers, seconds)
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            return None, {}, f"no answer ({type(error).__name__})"
        try:
            parsed = json.loads(content)
        except ValueError:
            parsed = None
        return status, parsed if isinstance(parsed, dict) else {}, ""

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """Status and body. Raises HTTPError, and TimeoutError for a body that trickles on beyond `seconds`."""
        end, content = time.monotonic() + seconds, b""
        answer = self._pool.request(
            method,
            self._base + path,
            body=data,
            headers=headers,
            timeout=urllib3.Timeout(total=max(seconds, 0.001)),
            redirect=False,
            preload_content=False,
        )
        try:
            while len(content) < _MAX_ANSWER and (chunk := answer.read1(_MAX_ANSWER)):
                content += chunk
                if time.monotonic() > end:
                    raise TimeoutError
        finally:
            answer.close()
        return answer.status, content

    def _signed(self, method: str, path: str) -> dict[str, str]:
        """Request signature, version 2: HMAC-SHA256 over method, path, time and access key; not over the body."""
        now = str(int(time.time() * 1000))
        text = f"{method} {path}\n{now}\n{self._access_key}".encode()
        return {
            "x-ncp-apigw-timestamp": now,
            "x-ncp-iam-access-key": self._access_key,
            "x-ncp-apigw-signature-v2": base64.b64encode(hmac.digest(self._secret_key, text, "sha256")).decode(),
        }


_FIXES = {
    200: "is this KMS 2.0?",
    401: "check access key, secret key, the rights of the sub-account and this host's clock",
    403: "give the sub-account the right to use this key",
    404: "check the key tag; the key may be deleted",
}


def _reason(status: int | None, answer: Mapping[str, Any]) -> str:
    """What the service says, out of the three shapes that its errors have; never what was asked."""
    gateway, service = answer.get("error"), answer.get("responseError")
    said: list[object] = []
    if isinstance(gateway, dict):
        said = [gateway.get("errorCode"), gateway.get("message")]
    elif isinstance(service, dict):
        said = [service.get("returnCode"), service.get("returnMessage")]
    elif answer:
        said = [answer.get("code"), answer.get("msg")]
    words = " ".join(str(each)[:100] for each in said if each is not None)
    return f"HTTP {status} {''.join(each for each in words if each.isprintable())}".rstrip()
