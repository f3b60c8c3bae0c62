"""Operator accounts: no password, public keys in a directory of root, a day on which the account ends by itself.

The keys lie in /etc/ssh/sensmail-keys, and sshd takes the keys of operators from nowhere else (role rights). So nobody
lets in another by a line in a home directory, and nothing is ever written into a directory that belongs to a user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensmail.rights.errors import InvalidRight, NotApplied
from sensmail.rights.host import Account, Host, drop, read_plain, replace
from sensmail.rights.model import Right, State
from sensmail.rights.sessions import Sessions
from sensmail.rights.sshkeys import authorized

GROUP = "sensmail-operators"
LOGIN = "login"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = (".ssh/authorized_keys", ".ssh/authorized_keys2")  # sshd_config(5), AuthorizedKeysFile
PASSWORD, UID_0 = "password", "uid 0"


@dataclass(frozen=True)
class Operators:
    """The place of kind `operator`."""

    host: Host
    sessions: Sessions = field(default_factory=Sessions)

    def check(self, right: Right) -> None:
        account = self.host.accounts().get(right.account)
        if account is not None and not account.personal:
            text = f"{right.account} is a system account of {right.scope} (uid {account.uid})"
            raise InvalidRight(f"{text}; operators have accounts of their own, such as kim")

    def removable(self, right: Right) -> None:
        account = self.host.accounts().get(right.account)
        if account is not None and self.sessions.carries_me(account.uid):
            text = f"this run is itself part of a session of {account.name}, which would end it half-way"
            raise InvalidRight(f"{text}; run it from another account")

    def expected(self, terms: tuple[str, ...], until: datetime) -> State:
        return State(terms, str(_day_after(until)))

    def look(self, right: Right) -> State | None:
        account = self.host.accounts().get(right.account)
        return None if account is None else self._state(account)

    def apply(self, right: Right, terms: tuple[str, ...], until: datetime) -> None:
        there = right.account in self.host.accounts()
        ends = f"{_EPOCH + timedelta(days=_day_after(until)):%Y-%m-%d}"
        same = ["--shell", "/bin/bash", "--expiredate", ends, "--password", "*", "--groups", GROUP]
        if there:
            self.host.change("usermod", "--append", *same, right.account)
        else:
            self.host.change("useradd", "--create-home", "--user-group", *same, right.account)
        self._forget_own(self.host.accounts()[right.account])
        replace(self._keys(right.account), "".join(f"{each}\n" for each in terms), 0o644)

    def remove(self, right: Right) -> None:
        account = self.host.accounts().get(right.account)
        if account is None:
            return
        closed = ["--password", "!", "--expiredate", "1970-01-02", "--shell", "/usr/sbin/nologin"]
        self.host.change("usermod", *closed, account.name)
        drop(self._keys(account.name))
        self._forget_own(account)
        self.sessions.end(account.uid)

    def found(self) -> dict[Right, State]:
        states = {account.name: self._state(account) for account in self.host.accounts().values()}
        return {Right("operator", self.host.name, name, LOGIN): state for name, state in states.items() if state}

    def _state(self, account: Account) -> State | None:
        """What opens the account. A person's account that has not ended is a right even where nothing opens it yet."""
        terms = set(self._all_keys(account))
        ended = account.expires is not None and _EPOCH + timedelta(days=account.expires) <= datetime.now(UTC)
        if account.opens_by_password:
            terms.add(PASSWORD)
        if account.uid == 0 and account.name != "root":
            terms.add(UID_0)
        if not terms and (ended or not account.personal):
            return None
        return State(tuple(sorted(terms)), str(account.expires or ""))

    def _keys(self, account: str) -> Path:
        return self.host.root / "etc/ssh/sensmail-keys" / account

    def _all_keys(self, account: Account) -> Iterator[str]:
        home = self.host.root / account.home.lstrip("/")
        for path in (self._keys(account.name), *(home / own for own in _OWN)):
            try:
                text = read_plain(path)
            except OSError as error:
                yield f"unreadable: {path} ({error.strerror or 'no plain file'})"
            else:
                yield from authorized(text or "")

    def _forget_own(self, account: Account) -> None:
        """Remove key files of the user's own, following no link that the user may have put there."""
        opened: list[int] = []
        try:
            where = os.open(self.host.root / account.home.lstrip("/"), os.O_DIRECTORY | os.O_NOFOLLOW)
            opened.append(where)
            opened.append(os.open(".ssh", os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=where))
            for own in _OWN:
                with suppress(FileNotFoundError):
                    os.unlink(own.partition("/")[2], dir_fd=opened[-1])
        except FileNotFoundError:
            return
        except OSError as error:
            text = f"{account.home}/.ssh of {account.name}: {error.strerror}"
            raise NotApplied(f"{text}; look what it is, and remove it by hand") from error
        finally:
            for handle in opened:
                os.close(handle)


def _day_after(until: datetime) -> int:
    """The day on which the account has ended: shadow(5) knows days only, so it may last some hours longer."""
    return -((_EPOCH - until.astimezone(UTC)) // timedelta(days=1))
