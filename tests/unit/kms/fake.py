"""A strict imitation of NAVER Cloud's KMS 2.0 on the loopback interface, over real TLS.

It follows the provider's documents as of November 2026, and refuses whatever they do not describe: paths, headers,
signatures, clocks, bodies, unknown members. What they leave open is marked "assumed". It stands in for the service in
tests; it proves nothing about the service.
"""

from __future__ import annotations

import base64
import datetime
import hmac
import http.server
import ipaddress
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

SKEW_MS = 5 * 60 * 1000
MAX_PLAINTEXT = 32 * 1024  # bytes
MEMBERS = {"encrypt": {"plaintext"}, "decrypt": {"ciphertext"}, "request-deletion": set[str]()}
GATEWAY = {  # HTTP status: code and message of the API gateway
    400: ("100", "Bad Request Exception"),
    401: ("200", "Authentication Failed"),
    404: ("300", "Not Found Exception"),
    429: ("420", "Rate Limit Exceeded"),
    503: ("500", "Endpoint Error"),
    504: ("510", "Endpoint Timeout"),
}


class RefusedError(Exception):
    """An answer other than success: HTTP status and body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def gateway(status: int) -> RefusedError:
    """An error in the shape of the API gateway."""
    code, message = GATEWAY[status]
    return RefusedError(status, {"error": {"errorCode": code, "message": message, "details": message}})


def service(status: int, code: str, message: str) -> RefusedError:
    """An error in the shape of a service."""
    return RefusedError(status, {"responseError": {"returnCode": code, "returnMessage": message}})


@dataclass
class FakeKms:
    """One account with one sub-account's access key, and its keys by tag."""

    access_key: str = "FAKEACCESSKEY0000001"
    secret_key: str = "fake-secret-key-for-tests-only"
    keys: dict[str, list[bytes]] = field(default_factory=dict)  # versions, the newest last
    ending: set[str] = field(default_factory=set)  # deletion requested
    clock_ms: int = 0  # added to this host's time
    per_second: int = 300
    faults: list[str] = field(default_factory=list)  # taken one a request: see `_Handler.spoil`
    seen: list[str] = field(default_factory=list)  # what was asked, in order
    endpoint: str = ""
    certificate: Path = Path()
    _recent: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    def make_key(self, tag: str) -> None:
        """A key with one version."""
        self.keys[tag] = [os.urandom(32)]

    def rotate(self, tag: str) -> None:
        """A new version; the old ones still decrypt."""
        self.keys[tag].append(os.urandom(32))

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> dict[str, Any]:
        """The body of a successful answer.

        Raises:
            RefusedError: any other.
        """
        self._authenticate(method, path, headers)
        self._throttle()
        parts = path.split("/")
        if method == "GET" and parts[:4] == ["", "kms", "v1", "keys"] and len(parts) == 5:
            return self._info(parts[4], body)
        if method != "POST" or parts[:4] != ["", "kms", "v1", "keys"] or len(parts) != 6 or parts[5] not in MEMBERS:
            raise gateway(404)
        tag, verb = parts[4], parts[5]
        self.seen.append(verb)
        asked = self._members(verb, headers, body)
        if tag not in self.keys:
            raise service(404, "1002", "key not found")
        if tag in self.ending:
            raise service(403, "1003", "key is not available")  # assumed: status and code
        data = {"encrypt": self._encrypt, "decrypt": self._decrypt, "request-deletion": self._end}[verb](tag, asked)
        return {"code": "SUCCESS", "data": data}

    def _authenticate(self, method: str, path: str, headers: Any) -> None:
        stamp, access = headers.get("x-ncp-apigw-timestamp", ""), headers.get("x-ncp-iam-access-key", "")
        signed = f"{method} {path}\n{stamp}\n{access}".encode()
        expected = base64.b64encode(hmac.digest(self.secret_key.encode(), signed, "sha256")).decode()
        if access != self.access_key or headers.get("x-ncp-apigw-signature-v2") != expected:
            raise gateway(401)
        if not stamp.isdigit() or abs(int(stamp) - int(time.time() * 1000) - self.clock_ms) > SKEW_MS:
            raise gateway(401)

    def _throttle(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._recent = [each for each in self._recent if each > now - 1]
            if len(self._recent) >= self.per_second:
                raise gateway(429)
            self._recent.append(now)

    def _members(self, verb: str, headers: Any, body: bytes) -> dict[str, str]:
        if not MEMBERS[verb]:
            if body:
                raise service(400, "1001", "no body is expected")
            return {}
        if headers.get("Content-Type") != "application/json":
            raise gateway(400)
        try:
            asked = json.loads(body)
        except ValueError:
            raise gateway(400) from None
        if not isinstance(asked, dict) or set(asked) != MEMBERS[verb]:  # context: for convergent keys only
            raise service(400, "1001", "invalid parameter")
        if not all(isinstance(each, str) for each in asked.values()):
            raise service(400, "1001", "invalid parameter")
        return asked

    def _encrypt(self, tag: str, asked: dict[str, str]) -> dict[str, Any]:
        try:
            plaintext = base64.b64decode(asked["plaintext"], validate=True)
        except ValueError:
            raise service(400, "1001", "plaintext is not base64") from None
        if not 0 < len(plaintext) <= MAX_PLAINTEXT:
            raise service(400, "1001", "plaintext is too long")
        version, nonce = len(self.keys[tag]), os.urandom(12)
        sealed = nonce + AESGCM(self.keys[tag][-1]).encrypt(nonce, plaintext, tag.encode())
        return {"ciphertext": f"ncpkms:v{version}:{base64.b64encode(sealed).decode()}"}

    def _decrypt(self, tag: str, asked: dict[str, str]) -> dict[str, Any]:
        wrong = service(400, "1004", "invalid ciphertext")  # assumed: status and code
        name, _, rest = asked["ciphertext"].partition(":")
        version, _, text = rest.partition(":")
        if name != "ncpkms" or version not in {f"v{number + 1}" for number in range(len(self.keys[tag]))}:
            raise wrong
        try:
            sealed = base64.b64decode(text, validate=True)
            if base64.b64encode(sealed).decode() != text:
                raise wrong
            key = AESGCM(self.keys[tag][int(version[1:]) - 1])
            plaintext = key.decrypt(sealed[:12], sealed[12:], tag.encode())
        except (ValueError, InvalidTag):
            raise wrong from None
        return {"plaintext": base64.b64encode(plaintext).decode()}

    def _end(self, tag: str, _asked: dict[str, str]) -> dict[str, Any]:
        self.ending.add(tag)
        return {"keyTag": tag, "status": "REVOKE", "statusDate": int(time.time() * 1000)}

    def _info(self, tag: str, body: bytes) -> dict[str, Any]:
        """Get Key Info; of its members those that matter here."""
        self.seen.append("info")
        if body:
            raise service(400, "1001", "no body is expected")
        if tag not in self.keys:
            raise service(404, "1002", "key not found")
        status = "REVOKE" if tag in self.ending else "ENABLE"
        info = {"keyTag": tag, "keyType": "AES256", "status": status, "currentVersion": len(self.keys[tag])}
        return {"code": "SUCCESS", "data": info}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # one packet an answer
    kms: FakeKms

    def do_POST(self) -> None:
        """Every request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.kms.faults.pop(0) if self.kms.faults else ""
        if fault and self.spoil(fault):
            return
        try:
            self.send(200, json.dumps(self.kms.answer(self.command, self.path, self.headers, body)).encode())
        except RefusedError as refused:
            self.send(refused.status, json.dumps(refused.body).encode())

    do_GET = do_POST  # noqa: N815  the name is the library's

    def spoil(self, fault: str) -> bool:
        """hang, reset, drip, html, empty, list, or an HTTP status of the gateway."""
        if fault == "hang":
            self.kms.stopping.wait(30)
        elif fault == "reset":
            self.connection.close()
        elif fault == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(300):
                self.wfile.write(b" ")
                self.wfile.flush()
                if self.kms.stopping.wait(0.1):
                    break
        elif fault in {"html", "empty", "list"}:
            self.send(200, {"html": b"<html>", "empty": b"{}", "list": b"[1]"}[fault])
        else:
            self.send(int(fault), json.dumps(gateway(int(fault)).body).encode())
        self.close_connection = fault in {"hang", "reset", "drip"}
        return True

    def send(self, status: int, content: bytes) -> None:
        """One answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: requests hold keys."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def running(home: Path) -> Iterator[FakeKms]:
    """The service on a free port, with a certificate of its own in `home`."""
    kms = FakeKms(certificate=home / "kms.pem")
    key_file = _certificate(kms.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kms.certificate, key_file)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"kms": kms}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    kms.endpoint = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield kms
    kms.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


def _certificate(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake KMS")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))
    key_file = path.with_suffix(".key")
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key_file
