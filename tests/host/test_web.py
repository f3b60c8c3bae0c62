"""The web server from outside."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from machine import Machine


@dataclass(frozen=True)
class Site:
    """The host under the names it is known by."""

    address: str
    name: str
    domain: str
    ca: str

    def get(self, path: str, name: str | None = None, tls: ssl.TLSVersion | None = None) -> http.client.HTTPResponse:
        """Ask over TLS.

        Raises:
            OSError: no connection, or one that the host ended.
        """
        context = ssl.create_default_context(cadata=self.ca)
        if tls:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = tls
        plain = socket.create_connection((self.address, 443), timeout=5)
        asked = name or self.name
        connection = http.client.HTTPSConnection(asked, timeout=5)
        connection.sock = context.wrap_socket(plain, server_hostname=asked)
        connection.request("GET", path)
        return connection.getresponse()

    def get_plain(self, path: str, name: str) -> http.client.HTTPResponse:
        """Ask without TLS.

        Raises:
            OSError, http.client.HTTPException: no answer.
        """
        connection = http.client.HTTPConnection(self.address, 80, timeout=5)
        connection.request("GET", path, headers={"Host": name})
        return connection.getresponse()


@pytest.fixture(scope="module")
def site(host: Host, machine: Machine) -> Site:
    if not host.service("nginx").is_running:
        pytest.skip("no web server on this host")
    policy = host.file("/var/www/sensmail/mta-sts/.well-known/mta-sts.txt").content_string
    name = re.search(r"^mx: (\S+)$", policy, re.MULTILINE)
    served = re.search(r"server_name mta-sts\.(\S+?)[ ;]", host.file("/etc/nginx/nginx.conf").content_string)
    assert name
    assert served
    return Site(machine.address, name[1], served[1], host.file("/etc/sensmail/tls/ca.pem").content_string)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_policy_is_read_by_everybody(site: Site, host: Host, language: str) -> None:
    answer = site.get(f"/policy/{language}/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = host.check_output(f"cat /var/www/sensmail/policy/{language}/index.html")
    assert answer.read().decode().strip() == page.strip() != ""


def test_the_first_page_is_the_policy(site: Site) -> None:
    answer = site.get("/")
    assert (answer.status, answer.headers["Location"]) == (302, f"https://{site.name}/policy/ko/")


def test_without_tls_there_is_only_the_way_to_it(site: Site) -> None:
    answer = site.get_plain("/policy/ko/?x=1", site.name)
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{site.name}/policy/ko/?x=1")


@pytest.mark.parametrize("path", ["/", "/policy/ko/", "/no/such/page"])
def test_every_answer_carries_its_fences(site: Site, path: str) -> None:
    headers = site.get(path).headers
    assert int(headers["Strict-Transport-Security"].removeprefix("max-age=")) >= 31536000
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert headers["Server"] == "nginx", "no version"


@pytest.mark.parametrize(
    ("version", "good"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(site: Site, version: ssl.TLSVersion, good: bool) -> None:
    if good:
        assert site.get("/policy/ko/", tls=version).status == 200
    else:
        with pytest.raises(ssl.SSLError):
            site.get("/policy/ko/", tls=version)


def test_other_names_get_nothing(site: Site) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized|alert|handshake"):
        site.get("/", name="other.example")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        site.get_plain("/", "other.example")


def test_other_servers_learn_how_to_deliver(site: Site) -> None:
    answer = site.get("/.well-known/mta-sts.txt", name=f"mta-sts.{site.domain}")
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/plain")
    text = answer.read().decode()
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    assert (fields["version"], fields["mx"]) == ("STSv1", site.name)
    assert fields["mode"] in ("testing", "enforce", "none")
    assert int(fields["max_age"]) <= 31557600
    assert site.get("/policy/ko/", name=f"mta-sts.{site.domain}").status == 404


def test_mail_programs_learn_how_to_be_set_up(site: Site) -> None:
    answer = site.get("/mail/config-v1.1.xml", name=f"autoconfig.{site.domain}")
    text = answer.read().decode()
    assert answer.status == 200
    assert f"<domain>{site.domain}</domain>" in text
    assert f"<hostname>{site.name}</hostname>" in text
    assert "plain" not in re.findall("<socketType>(.*?)</socketType>", text)


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/policy/../mta-sts/", "/policy/..%2f..%2fetc/passwd", "/.git/config", "/policy"]
)
def test_nothing_else_is_served(site: Site, path: str) -> None:
    assert site.get(path).status in (301, 400, 404)


def test_nobody_notes_who_reads_the_policy(site: Site, host: Host) -> None:
    word = f"reader-{id(site)}"
    site.get(f"/policy/ko/?{word}")
    site.get(f"/{word}")
    assert host.run(f"grep -r {word} /var/log/nginx").rc != 0
    assert word not in host.check_output("journalctl --unit=nginx --no-pager --since=-60s")
    assert word not in host.check_output("journalctl --identifier=nginx --no-pager --since=-60s")
