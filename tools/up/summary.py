"""What a person wants to know once the host is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from up.host import CA, NAME, WITNESS, Site

TEXT = """
The mail host is up.

Addresses
  machine        {name}  {address}  {address6}
  policy page    https://{hostname}/policy/ko/  (English: /policy/en/)
  submission     {hostname}:465 (TLS) or :587 (STARTTLS)
  reading mail   {hostname}:993 (IMAP over TLS)
  trust this CA  {ca}   (made on the host, for local use only)

  {hostname} is a name of this computer's machine only. To use it from here:
    echo '{address} {hostname}' >> /etc/hosts

Log in (mail programs take app passwords only; the account password never works there)
{accounts}
  another one: make shell, then: sensmail account app-password issue ADDRESS --label phone

Keys of the sealed fields (docs/keys.md)
  `sensmail keys status` shows them. Two copies, here on one disk, and no officer can recover them yet:
  for people's data, mount a second place and hold the ceremony first.

Witness of the records (docs/witness.md)
  `sensmail witness status` on either machine; a shell there: ssh -F build/machines/ssh_config {witness}
  Here one controller runs both: for people's data, another administrator keeps the witness.

DNS records to publish
{records}

Try it
  curl --cacert {ca} --resolve {hostname}:993:{address} -u '{first}:APP-PASSWORD' imaps://{hostname}/
  make shell     a shell on the host; `sensmail policy show` prints what is promised and applied
  make test      every check, about half an hour
  make down      removes the machines and every trace of them

Next: README.md, "Where to go next".
"""


def text(site: Site, accounts: Mapping[str, str], records: Sequence[str]) -> str:
    """The summary that `make up` ends with."""
    return TEXT.format(
        name=NAME,
        witness=WITNESS,
        address=site.address,
        address6=site.address6,
        hostname=site.hostname,
        ca=CA,
        accounts="\n".join(f"  {address}   {password}" for address, password in accounts.items()),
        records="\n".join(f"  {line}" for line in records),
        first=next(iter(accounts)),
    )
