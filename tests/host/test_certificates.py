"""Key and certificate of the host, as clients and as other users of the host meet them."""

from __future__ import annotations

import re
import socket
import ssl

import pytest
from testinfra.host import Host

from machine import Machine

TLS = "/etc/sensmail/tls"


def names(host: Host) -> list[str]:
    text = host.check_output(f"openssl x509 -in {TLS}/fullchain.pem -noout -ext subjectAltName")
    return re.findall(r"DNS:([\w.-]+)", text)


def test_only_services_read_the_key(host: Host) -> None:
    key = host.file(f"{TLS}/key.pem")
    assert (key.user, key.group, key.mode) == ("root", "ssl-cert", 0o640)
    assert host.run(f"runuser -u nobody -- cat {TLS}/key.pem").rc != 0
    if host.file("/etc/sensmail/ca/key.pem").exists:
        assert host.file("/etc/sensmail/ca/key.pem").mode == 0o600
        assert host.run("runuser -u nobody -g ssl-cert -- cat /etc/sensmail/ca/key.pem").rc != 0


def test_key_and_certificate_belong_together(host: Host) -> None:
    of_key = host.check_output(f"openssl pkey -in {TLS}/key.pem -pubout")
    assert of_key == host.check_output(f"openssl x509 -in {TLS}/fullchain.pem -noout -pubkey")


def test_a_strict_client_accepts_the_chain(host: Host) -> None:
    if not host.file(f"{TLS}/ca.pem").exists:
        pytest.skip("a public authority signs")
    verify = host.run(f"openssl verify -x509_strict -purpose sslserver -CAfile {TLS}/ca.pem {TLS}/fullchain.pem")
    assert verify.rc == 0, verify.stdout + verify.stderr


def test_python_connects_under_every_name(host: Host, machine: Machine) -> None:
    if not host.service("nginx").is_running:
        pytest.skip("no web server on this host")
    context = ssl.create_default_context(cadata=host.file(f"{TLS}/ca.pem").content_string)
    assert names(host)
    for name in names(host):
        with socket.create_connection((machine.address, 443), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    with socket.create_connection((machine.address, 443), timeout=5) as plain, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(plain, server_hostname=names(host)[0])


def test_the_operators_hear_of_the_end_in_time(host: Host) -> None:
    """The daily unit is content today, and fails with a certificate that ends within its limit."""
    assert host.service("sensmail-certificate.timer").is_enabled
    assert host.run("systemctl start sensmail-certificate.service").rc == 0
    command = re.search(
        r"^ExecStart=(.*)$", host.check_output("systemctl cat sensmail-certificate.service"), re.MULTILINE
    )
    assert command
    limit = re.search(r"-checkend (\d+)", command[1])
    assert limit
    days = int(limit[1]) // 86400
    place = "/run/test-certificate"
    key = f"-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {place}.key"
    make = f"openssl req -x509 {key} -out {place}.pem -subj /CN=x"
    try:
        for life, code in ((days - 1, 1), (days + 1, 0)):
            host.check_output(f"{make} -days {life} 2>&1")
            assert host.run(command[1].replace(f"{TLS}/fullchain.pem", f"{place}.pem")).rc == code
    finally:
        host.run(f"rm -f {place}.key {place}.pem")
