"""The records that `make up` prints are complete, and follow what the host holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from up import dns
from up.host import Site

DKIM = '; made on the host\nmail._domainkey.one.test. IN TXT "v=DKIM1; k=rsa; p=AAAA"\n'


@dataclass(frozen=True)
class FakeSite(Site):
    """A site whose files are given."""

    files: dict[str, str] = field(default_factory=dict)

    def read_file(self, path: str) -> str:
        return self.files.get(path, "")


def site(files: dict[str, str]) -> FakeSite:
    return FakeSite("198.18.1.9", "fd53::9", "mx.one.test", ("one.test", "two.test"), "ops@one.test", "/x", files)


def test_every_kind_of_record_is_there() -> None:
    files = {dns.DKIM.format(domain="one.test"): DKIM, dns.MTA_STS: "version: STSv1\nmode: enforce\n"}
    text = "\n".join(dns.records(site(files)))
    for wanted in (
        "mx.one.test. IN A 198.18.1.9",
        "mx.one.test. IN AAAA fd53::9",
        "9.1.18.198.in-addr.arpa. IN PTR mx.one.test.",
        "one.test. IN MX 10 mx.one.test.",
        'one.test. IN TXT "v=spf1 mx -all"',
        'mail._domainkey.one.test. IN TXT "v=DKIM1; k=rsa; p=AAAA"',
        '_dmarc.two.test. IN TXT "v=DMARC1;',
        '_mta-sts.two.test. IN TXT "v=STSv1; id=',
        "mta-sts.one.test. IN CNAME mx.one.test.",
        '_smtp._tls.one.test. IN TXT "v=TLSRPTv1; rua=mailto:ops@one.test"',
    ):
        assert wanted in text
    assert "made on the host" not in text


def test_no_record_promises_what_the_host_does_not_serve() -> None:
    assert "mta-sts" not in "\n".join(dns.records(site({})))


@pytest.mark.parametrize("changed", ["mode: testing\n", "mode: enforce\n\n"])
def test_the_sts_id_changes_with_its_policy(changed: str) -> None:
    def number(policy: str) -> str:
        return next(line for line in dns.records(site({dns.MTA_STS: policy})) if "STSv1" in line)

    assert number("mode: enforce\n") == number("mode: enforce\n")
    assert number("mode: enforce\n") != number(changed)
