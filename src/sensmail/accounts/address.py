"""Mail addresses and domains in the one form in which they are stored and compared.

A hosted address is a subset of RFC 5321 section 4.1.2: letters, digits, dot, underscore and hyphen before the `@`,
lower case, no quoting. Left out on purpose: `+` (separates a mailbox from its detail), `/` and other characters that
mean something to a file system, a shell or a table of Postfix. Domains are kept as A-labels (IDNA 2008, UTS 46).
"""

from __future__ import annotations

import re
import unicodedata

import idna

from sensmail.accounts.errors import InvalidValue

MAX_ADDRESS_OCTETS = 254  # RFC 5321 section 4.5.3.1.3 less the two angle brackets
MAX_LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
MAX_DOMAIN_OCTETS = 253  # RFC 1035 section 2.3.4 in text form

_HOSTED_LOCAL = re.compile(r"[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_-]+)*")
_FOREIGN_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def canonical_domain(text: str) -> str:
    """A domain name as lower-case A-labels, for example `xn--3e0b707e.kr`.

    Raises:
        InvalidValue: not a domain name of at least two labels.
    """
    try:
        name = idna.encode(unicodedata.normalize("NFC", text), uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidValue(f"domain {text!r} is not a domain name ({error}); write it like example.kr") from error
    if name.endswith(".") or "." not in name or len(name) > MAX_DOMAIN_OCTETS:
        raise InvalidValue(
            f"domain {text!r}: two labels or more, no dot at the end, at most {MAX_DOMAIN_OCTETS} characters; "
            "write it like example.kr"
        )
    if name.rpartition(".")[2].isdigit():
        raise InvalidValue(f"domain {text!r} ends in a number, as an IP address does; write it like example.kr")
    return name


def canonical_address(text: str) -> str:
    """An address that this service can host: lower case, domain as A-labels.

    Raises:
        InvalidValue: not an address, or one with a character that hosted addresses may not have.
    """
    local, domain = _split(text)
    local = local.lower()
    if not _HOSTED_LOCAL.fullmatch(local):
        raise InvalidValue(
            f"address {text!r}: before the @ only letters a-z, digits, and single dots, underscores or hyphens between "
            "them; '+' is kept for address details. Write it like gildong.hong@example.kr"
        )
    return _joined(text, local, domain)


def canonical_target(text: str) -> str:
    """An address that mail may be sent on to, here or elsewhere. The part before the @ keeps its case.

    Raises:
        InvalidValue: not an address, or a quoted one.
    """
    local, domain = _split(text)
    if not _FOREIGN_LOCAL.fullmatch(local):
        raise InvalidValue(f"address {text!r}: quoted or non-ASCII names before the @ are not supported as a target")
    return _joined(text, local, domain)


def domain_of(address: str) -> str:
    """The domain of a canonical address."""
    return address.rpartition("@")[2]


def _split(text: str) -> tuple[str, str]:
    local, at, domain = unicodedata.normalize("NFC", text).rpartition("@")
    if not at or not local or not domain:
        raise InvalidValue(f"address {text!r} has no name, no @ or no domain; write it like gildong.hong@example.kr")
    if len(local.encode("utf-8", "replace")) > MAX_LOCAL_OCTETS:
        raise InvalidValue(f"address {text!r}: at most {MAX_LOCAL_OCTETS} characters before the @")
    return local, canonical_domain(domain)


def _joined(text: str, local: str, domain: str) -> str:
    address = f"{local}@{domain}"
    if len(address) > MAX_ADDRESS_OCTETS:
        raise InvalidValue(f"address {text!r}: at most {MAX_ADDRESS_OCTETS} characters in all")
    return address
