"""Speak the protocols byte by byte: what no stock client would send."""

from __future__ import annotations

import base64
import socket
import ssl
from types import TracebackType

from mail.site_under_test import Site

TIMEOUT_S = 20
IMAPS, POP3S, SIEVE, SUBMISSION, SUBMISSIONS, SMTP = 993, 995, 4190, 587, 465, 25
TLS_AT_ONCE = (IMAPS, POP3S, SUBMISSIONS)
LOGIN_PORTS = (SUBMISSIONS, SUBMISSION, IMAPS, POP3S, SIEVE)


class Dialogue:
    """A connection that has read the greeting; TLS stands where the port begins with it."""

    def __init__(self, site: Site, port: int, context: ssl.SSLContext | None = None) -> None:
        self.site, self.port, self.context = site, port, context or site.tls
        self.socket = socket.create_connection((site.machine.address, port), timeout=TIMEOUT_S)
        self.buffer = b""
        if port in TLS_AT_ONCE:
            self.handshake()
        self.greeting = self.answer()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.socket.close()

    def handshake(self) -> None:
        """Begin TLS on the open connection; nothing read before counts any more."""
        self.buffer = b""
        self.socket = self.context.wrap_socket(self.socket, server_hostname=self.site.hostname)

    def line(self) -> bytes:
        """One line without its end; b"" when the server has closed."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                data = b""
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def answer(self) -> bytes:
        """The answer to one command, by the rules of the port's protocol: its last line last."""
        lines = []
        while line := self.line():
            lines.append(line)
            if self._last(line):
                break
        return b"\n".join(lines)

    def _last(self, line: bytes) -> bool:
        if self.port == IMAPS:
            return line.startswith((b"x ", b"* OK", b"* BYE", b"+ "))
        if self.port == POP3S:
            return True
        if self.port == SIEVE:
            return line.split(b" ")[0].upper() in (b"OK", b"NO", b"BYE")
        return len(line) < 4 or line[3:4] != b"-"

    def say(self, command: bytes) -> bytes:
        """Send one line and return the answer."""
        self.socket.sendall((b"x " if self.port == IMAPS else b"") + command + b"\r\n")
        return self.answer()

    def secure(self) -> Dialogue:
        """Bring the connection to where a login is possible."""
        if self.port in (SUBMISSION, SUBMISSIONS):
            self.say(b"EHLO client.example.org")
        if self.port in (SUBMISSION, SIEVE):
            answer = self.say(b"STARTTLS")
            assert answer.upper().startswith((b"220", b"OK")), answer
            self.handshake()
            if self.port == SIEVE:
                self.answer()
            else:
                self.say(b"EHLO client.example.org")
        return self

    def authenticate(self, mechanism: bytes, response: bytes) -> bytes:
        """Log in with an initial response, and return the server's verdict."""
        encoded = base64.b64encode(response) or b"="
        command = {
            IMAPS: b"AUTHENTICATE %s %s",
            POP3S: b"AUTH %s %s",
            SIEVE: b'AUTHENTICATE "%s" "%s"',
        }.get(self.port, b"AUTH %s %s")
        return self.say(command % (mechanism, encoded))


def plain(login: bytes, password: bytes) -> bytes:
    """The response of SASL PLAIN."""
    return b"\0" + login + b"\0" + password


def accepted(port: int, answer: bytes) -> bool:
    """Whether this verdict lets the client in."""
    last = answer.splitlines()[-1] if answer else b""
    return last.startswith({IMAPS: b"x OK", POP3S: b"+OK", SIEVE: b"OK"}.get(port, b"235"))


def broken(answer: bytes) -> bool:
    """Whether the server says that it, and not the client, is at fault."""
    return any(sign in answer for sign in (b"UNAVAILABLE", b"SYS/TEMP", b"TRYLATER", b"454 ", b"421 ", b"Internal"))
