"""What the policy of this host says about access rights, and which rights its roles set up themselves."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sensmail.keyd.policy import PATH as POLICY
from sensmail.rights.errors import NoPolicy
from sensmail.rights.model import Kind
from sensmail.rights.sshkeys import normal

SETTINGS = Path("/etc/sensmail/rights.toml")


class _Rights(msgspec.Struct, frozen=True):
    approval: str
    longest_days: int
    dormant_days: int


class _Applied(msgspec.Struct, frozen=True):
    access_rights: _Rights
    access_right_retention_days: int


class _Document(msgspec.Struct, frozen=True):
    applied: _Applied


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    reason: str
    kind: Kind = "operator"
    terms: list[str] = []


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str
    declared: list[_Declared] = []


@dataclass(frozen=True)
class Declared:
    """A right of a role of this project, or of the machine itself: no finding while it is no more than this."""

    kind: Kind
    account: str
    terms: frozenset[str]
    reason: str


@dataclass(frozen=True)
class Terms:
    """The role that approves; days that a right may last, an account may be unused, and a record is kept."""

    approval: str
    longest_days: int
    dormant_days: int
    retention_days: int


@dataclass(frozen=True)
class Settings:
    """Name of the host in the inventory, and what is declared."""

    host: str
    declared: tuple[Declared, ...]


BASELINE = (Declared("sudo", "root", frozenset({"ALL"}), "root is root already: the rule of Debian's sudo"),)


def load(path: Path | None = None) -> Terms:
    """Read the applied policy.

    Raises:
        NoPolicy: there is none, or one of another release.
    """
    path = path or POLICY
    try:
        applied = msgspec.json.decode(path.read_bytes(), type=_Document).applied
    except (OSError, msgspec.MsgspecError) as error:
        raise NoPolicy(f"{path}: {error}; role policy writes it: run site.yml") from error
    rights = applied.access_rights
    return Terms(rights.approval, rights.longest_days, rights.dormant_days, applied.access_right_retention_days)


def settings(path: Path | None = None) -> Settings:
    """Read what role rights left on this host.

    Raises:
        NoPolicy: the file is missing or not of this release.
        InvalidRight: a declared key is none.
    """
    path = path or SETTINGS
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Settings)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise NoPolicy(f"{path}: {error}; role rights writes it: run site.yml") from error
    declared = [
        Declared(each.kind, each.account, frozenset(_terms(each)), each.reason) for each in found.declared
    ]  # fmt: skip
    return Settings(found.host, (*BASELINE, *declared))


def _terms(declared: _Declared) -> list[str]:
    return [normal(each) for each in declared.terms] if declared.kind == "operator" else list(declared.terms)
