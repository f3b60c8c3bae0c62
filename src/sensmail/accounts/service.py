"""What faces call: ensure, issue, revoke, list, verify. One call is one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensmail.accounts import password, repository
from sensmail.accounts.describe import describe
from sensmail.accounts.errors import AccountError
from sensmail.accounts.model import Envelopes, Mailbox, Wanted, WantedAppPassword, WantedMailbox
from sensmail.accounts.plan import AppPasswordChange, Change, plan
from sensmail.accounts.sealing import key_service, ready
from sensmail.keyd.client import KeyService
from sensmail.store import Connection

ROLE = "sensmail-jobs"


@dataclass(frozen=True)
class Issued:
    """A new app password, to be shown to its owner once."""

    address: str
    label: str
    selector: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a call changed, or in check mode would change; `before` and `after` are fit to be shown."""

    changes: tuple[Change, ...]
    before: str
    after: str
    issued: tuple[Issued, ...] = ()


def ensure(connection: Connection, wanted: Wanted, *, check: bool = False, keys: KeyService | None = None) -> Outcome:
    """Bring tenants, domains, mailboxes, app passwords and aliases to the wanted state, all or nothing.

    Args:
        connection: session of role `sensmail-jobs`.
        wanted: what shall be; what it does not name is left alone.
        check: only plan. No secret and no key is made.
        keys: the key service; default: that of this host. Asked only for new subjects and personal items.

    Raises:
        AccountError: see `plan`. Nothing was changed then.
        KeyServiceError: a key or an envelope could not be made. Nothing was changed then.
    """
    with connection.transaction(), keys or key_service() as service:
        if not check:
            repository.lock(connection)
        present = repository.present(connection, wanted)
        changes = plan(present, wanted)
        issued = [] if check else [_apply(connection, change) for change in ready(changes, present, service)]
    return Outcome(tuple(changes), *describe(changes), tuple(item for item in issued if item))


def _apply(connection: Connection, change: Change | Envelopes) -> Issued | None:
    new = repository.apply(connection, change)
    if new is None or not isinstance(change, AppPasswordChange) or change.after is None:
        return None
    return Issued(change.address, change.after.label, new.selector, new.token)


def issue(connection: Connection, address: str, device: WantedAppPassword) -> Issued:
    """Give an existing, active mailbox an app password for one more device.

    Raises:
        AccountError: no such mailbox, it is not active, or the device has one already.
    """
    mailbox = repository.mailboxes(connection, [address]).get(address)
    if mailbox is None or mailbox.state != "active":
        state = mailbox.state if mailbox else "not there"
        raise AccountError(f"mailbox {address} is {state}; app passwords are for active mailboxes")
    if device.label in mailbox.app_passwords:
        selector = mailbox.app_passwords[device.label].selector
        raise AccountError(
            f"{address} has app password {device.label!r} already ({selector}); revoke it first, or use another label"
        )
    outcome = ensure(connection, Wanted(mailboxes=(WantedMailbox(address, app_passwords=(device,)),)))
    return outcome.issued[0]


def revoke(connection: Connection, selector: str) -> tuple[str, str]:
    """Revoke one app password from now on; returns its address and label.

    Raises:
        AccountError: no living app password has this selector.
    """
    with connection.transaction():
        repository.lock(connection)
        owner = repository.owner_of(connection, selector)
        if owner is None:
            raise AccountError(f"no living app password has selector {selector}; `sensmail account list` shows them")
        address, label = owner
        row = repository.mailboxes(connection, [address])[address].app_passwords[label]
        repository.apply(connection, AppPasswordChange(address, row, None))
    return owner


def listing(connection: Connection) -> list[Mailbox]:
    """All mailboxes with their living app passwords, by address."""
    return list(repository.mailboxes(connection).values())


def verify_password(connection: Connection, address: str, text: str) -> bool:
    """Whether `text` is the account password of an active mailbox. Takes the same time for every other answer."""
    mailbox = repository.mailboxes(connection, [address]).get(address)
    right = password.verify(mailbox.password_hash if mailbox else None, text)
    return right and mailbox is not None and mailbox.state == "active"
