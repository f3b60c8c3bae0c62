"""From settings to roots: which provider, with which credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensmail.keys.errors import SettingsError
from sensmail.keys.roots import FileRoot, Root
from sensmail.keys.timed import TimedRoot

_GENERATION = re.compile(r"sensmail-root_([1-9][0-9]{0,8})")  # as LoadCredentialEncrypted names a directory's files
_TOKEN_SECONDS, _NETWORK_SECONDS = 10.0, 20.0


def make_roots(table: Mapping[str, Any] | Sequence[Mapping[str, Any]], credentials: Path) -> list[Root]:
    """The roots that `[root]`, or several `[[root]]`, of a settings file describe, oldest to newest.

    Args:
        table: the parsed TOML.
        credentials: the directory that $CREDENTIALS_DIRECTORY names.

    Raises:
        SettingsError: an unknown provider, a missing, unknown or malformed setting, or no such credential.
    """
    tables = [table] if isinstance(table, Mapping) else table
    roots = [root for each in tables for root in _make(_Settings(each, credentials))]
    if not roots:
        raise SettingsError("[root]: names no provider; set provider to file, pkcs11 or ncloud_kms")
    return roots


class _Settings:
    """One table, read setting by setting; `finish` refuses what nobody asked for."""

    def __init__(self, table: Mapping[str, Any], credentials: Path) -> None:
        self._table, self.credentials, self._asked = table, credentials, set[str]()

    def text(self, name: str, default: str | None = None) -> str:
        """A setting that is a non-empty string."""
        self._asked.add(name)
        value = self._table.get(name, default)
        if not isinstance(value, str) or not value:
            raise SettingsError(f"[root]: {name} must be a text; found {type(value).__name__}")
        return value

    def one_of(self, name: str, *choices: str) -> str:
        """A setting that is one of few words."""
        value = self.text(name)
        if value not in choices:
            raise SettingsError(f"[root]: {name} = {value!r} is not known; choose {', '.join(choices)}")
        return value

    def seconds(self, default: float) -> float:
        """`timeout_s`."""
        self._asked.add("timeout_s")
        value = self._table.get("timeout_s", default)
        if type(value) not in {int, float} or not 0 < value <= 300:
            raise SettingsError(f"[root]: timeout_s = {value!r}: seconds, above 0 and at most 300")
        return float(value)

    def has(self, name: str) -> bool:
        """Whether an optional setting is given."""
        return name in self._table

    def secret(self, name: str) -> str:
        """The content of the credential that a setting names, without the line's end."""
        path = self.credentials / self.text(name)
        try:
            content = path.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path}: credential of [root] {name}: cannot be read ({type(error).__name__})"
            ) from None
        if not content:
            raise SettingsError(f"{path}: credential of [root] {name}: is empty")
        return content

    def finish(self) -> None:
        """Refuse settings that this provider does not have."""
        for name in set(self._table) - self._asked:
            raise SettingsError(
                f"[root]: {name} is no setting of this provider; it has {', '.join(sorted(self._asked))}"
            )


def _make(settings: _Settings) -> list[Root]:
    made = _PROVIDERS[settings.one_of("provider", *_PROVIDERS)](settings)
    settings.finish()
    return made


def _file(settings: _Settings) -> list[Root]:
    here = settings.credentials
    if settings.has("credential"):
        return [FileRoot(here / settings.text("credential"))]
    names = [each.name for each in here.iterdir()] if here.is_dir() else []
    generations = sorted(int(match[1]) for match in map(_GENERATION.fullmatch, names) if match)
    if not generations:
        raise SettingsError(f"{here}: holds no credential sensmail-root_<generation>; role keys makes the first one")
    return [FileRoot(here / f"sensmail-root_{number}") for number in generations]


def _pkcs11(settings: _Settings) -> list[Root]:
    from sensmail.keys import roots_pkcs11

    root = roots_pkcs11.Pkcs11Root(
        Path(settings.text("module")),
        settings.text("token"),
        settings.text("label"),
        settings.secret("pin_credential"),
        roots_pkcs11.DESTRUCTIONS[settings.one_of("destruction", *roots_pkcs11.DESTRUCTIONS)],
    )
    return [TimedRoot(root, settings.seconds(_TOKEN_SECONDS))]


def _ncloud_kms(settings: _Settings) -> list[Root]:
    from sensmail.keys import roots_ncloud

    seconds = settings.seconds(_NETWORK_SECONDS)
    root = roots_ncloud.NcloudKmsRoot(
        settings.text("endpoint", roots_ncloud.GOV),
        settings.text("key_tag"),
        settings.secret("access_key_credential"),
        settings.secret("secret_key_credential"),
        seconds=seconds,
        ca_file=Path(settings.text("ca_file")) if settings.has("ca_file") else None,
    )
    return [TimedRoot(root, seconds + 1)]


_PROVIDERS: dict[str, Callable[[_Settings], list[Root]]] = {
    "file": _file,
    "pkcs11": _pkcs11,
    "ncloud_kms": _ncloud_kms,
}
