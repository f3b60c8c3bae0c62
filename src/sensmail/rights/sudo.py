"""What accounts may do as root: one file an account, tried by visudo before it counts.

All rules are read as sudo reads them (cvtsudoers), so that one in another file, for a group or behind an alias shows.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from sensmail.rights.errors import InvalidRight, NotApplied
from sensmail.rights.host import Host, drop, replace, run
from sensmail.rights.model import Right, State

SUDO = "sudo"
ALL = "ALL"
_HEAD = "# Written with its record by sensmail (module access_right); what is changed here is found and put back.\n"


@dataclass(frozen=True)
class Sudo:
    """The place of kind `sudo`. Rules are for root and ask no password, for operators have none."""

    host: Host

    def check(self, right: Right) -> None:
        account = self.host.accounts().get(right.account)
        if account is not None and not account.personal:
            raise InvalidRight(f"{right.account} is a system account (uid {account.uid}); sudo is for operators")

    def removable(self, right: Right) -> None:
        """Nothing of this kind carries a run."""

    def expected(self, terms: tuple[str, ...], until: datetime) -> State:
        return State(terms, _stamp(until))

    def look(self, right: Right) -> State | None:
        return self.found().get(right)

    def apply(self, right: Right, terms: tuple[str, ...], until: datetime) -> None:
        rule = f"{right.account} ALL=(root) NOTAFTER={_stamp(until)} NOPASSWD: {', '.join(terms)}\n"
        handle, name = tempfile.mkstemp(prefix="sensmail-sudo-")
        try:
            with open(handle, "w") as file:
                file.write(rule)
            run(["visudo", "--check", "--quiet", "--strict", f"--file={name}"])
        finally:
            os.unlink(name)
        replace(self._file(right.account), _HEAD + rule, 0o440)

    def remove(self, right: Right) -> None:
        drop(self._file(right.account))
        if self.look(right) is not None:
            text = f"{right}: a rule in another file, or a group, still gives it"
            raise NotApplied(f"{text}; `cvtsudoers -f json /etc/sudoers` shows all, edit with visudo or `gpasswd -d`")

    def found(self) -> dict[Right, State]:
        terms: dict[str, set[str]] = defaultdict(set)
        ends: dict[str, set[str]] = defaultdict(set)
        for account, term, end in self._rules():
            terms[account].add(term)
            ends[account].add(end)
        return {
            Right("sudo", self.host.name, account, SUDO): State(tuple(sorted(terms[account])), " ".join(ends[account]))
            for account in terms
        }

    def _file(self, account: str) -> Path:
        return self.host.root / "etc/sudoers.d" / f"sensmail-{account}"

    def _rules(self) -> Iterator[tuple[str, str, str]]:
        """Account, command and end of every rule."""
        text = run(["cvtsudoers", "--expand-aliases", "--output-format=json", str(self.host.root / "etc/sudoers")])
        try:
            document = msgspec.json.decode(text)
            for spec in document.get("User_Specs", ()):
                accounts = sorted({name for user in spec["User_List"] for name in self._accounts(user)})
                for rule in spec["Cmnd_Specs"]:
                    options = {key: value for each in rule.get("Options", ()) for key, value in each.items()}
                    for command in rule["Commands"]:
                        yield from ((name, _term(rule, command), options.get("notafter", "")) for name in accounts)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise NotApplied(f"cvtsudoers gave what this release cannot read ({error!r})") from error

    def _accounts(self, user: dict[str, Any]) -> Iterator[str]:
        """Whom a word of a rule means: a name, the members of a group; anything else stands for itself."""
        if user.get("negated"):
            return
        if "usergroup" in user:
            yield from self.host.members(str(user["usergroup"]))
        elif "username" in user:
            yield str(user["username"])
        else:
            ((kind, value),) = user.items()
            named = {each.uid: each.name for each in self.host.accounts().values()} if kind == "userid" else {}
            yield named.get(value, f"{kind} {value}")


def _term(rule: dict[str, Any], command: dict[str, Any]) -> str:
    """A command as a record names it; one that is forbidden, or runs as somebody else than root, says so."""
    runas = {next(iter(each.values())) for each in rule.get("runasusers", [{"username": "root"}])}
    words = str(next((value for key, value in command.items() if key != "negated"), ALL))
    negated = "!" if command.get("negated") else ""
    as_whom = "" if runas <= {"root", ALL} else f" as {', '.join(map(str, sorted(runas, key=str)))}"
    return f"{negated}{words}{as_whom}"


def _stamp(until: datetime) -> str:
    """sudoers(5), NOTAFTER: GeneralizedTime."""
    return f"{until.astimezone(UTC):%Y%m%d%H%M%SZ}"
