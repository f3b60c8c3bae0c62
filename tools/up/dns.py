"""The DNS records that a site publishes, in zone-file form."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator

from up.host import Site

DKIM = "/var/lib/sensmail/dns/dkim-{domain}.txt"  # role mail_filter leaves it there
MTA_STS = "/var/www/sensmail/mta-sts/.well-known/mta-sts.txt"  # role web serves it


def records(site: Site) -> list[str]:
    """One record a line: addresses and PTR of the host, then what each mail domain needs.

    Raises:
        subprocess.CalledProcessError: the host cannot be asked.
    """
    return [*_host(site), *(line for domain in site.domains for line in _domain(site, domain))]


def _host(site: Site) -> Iterator[str]:
    for address, kind in ((site.address, "A"), (site.address6, "AAAA")):
        yield f"{site.hostname}. IN {kind} {address}"
        yield f"{ipaddress.ip_address(address).reverse_pointer}. IN PTR {site.hostname}."


def _domain(site: Site, domain: str) -> Iterator[str]:
    yield f"{domain}. IN MX 10 {site.hostname}."
    yield f'{domain}. IN TXT "v=spf1 mx -all"'
    yield from _dkim(site, domain)
    yield f'_dmarc.{domain}. IN TXT "v=DMARC1; p=quarantine; adkim=s; aspf=s; rua=mailto:{site.operator_mail}"'
    yield from _mta_sts(site, domain)
    yield f'_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:{site.operator_mail}"'


def _dkim(site: Site, domain: str) -> Iterator[str]:
    """The host made the key and wrote the record beside it."""
    text = site.read_file(DKIM.format(domain=domain))
    yield from (line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith(";"))


def _mta_sts(site: Site, domain: str) -> Iterator[str]:
    """RFC 8461: the id changes with the served policy, so it is taken from it."""
    policy = site.read_file(MTA_STS)
    if policy:
        number = hashlib.sha256(policy.encode()).hexdigest()[:20]
        yield f'_mta-sts.{domain}. IN TXT "v=STSv1; id={number}"'
        yield f"mta-sts.{domain}. IN CNAME {site.hostname}."
