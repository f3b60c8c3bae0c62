"""What the publisher reads at its start: `/etc/sensmail/publisher.toml`, written by role `publisher`. No secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from sensmail.records.cosignature import COSIGNATURE
from sensmail.records.errors import Malformed
from sensmail.records.note import VerifierKey
from sensmail.records.publisher.errors import SettingsWrong

PATH = Path("/etc/sensmail/publisher.toml")
STATE = Path("/run/sensmail-publisher/state.json")


class Witness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One witness.

    Attributes:
        url: submission prefix, https. key: NAME+id+key.
        certificate: SHA-256 of its certificate, in hexadecimal; empty: one that this host's authorities signed.
        same_controller: whether whoever administers this host administers the witness as well.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s?#]+\Z")]
    key: str
    certificate: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    same_controller: bool = False

    @property
    def name(self) -> str:
        return self.key.partition("+")[0]

    def verifier(self) -> VerifierKey:
        """Raises Malformed."""
        return VerifierKey.from_text(self.key, COSIGNATURE)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the publisher.

    Attributes:
        every_seconds: how often a newest checkpoint is handed in.
        stale_minutes: age of the newest cosignature from which on it is cause for alarm.
    """

    witnesses: Annotated[list[Witness], msgspec.Meta(max_length=16)]
    every_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 3.0
    stale_minutes: Annotated[int, msgspec.Meta(ge=1)] = 15


def load(path: Path = PATH) -> Settings:
    """Read the settings. Raises SettingsWrong."""
    try:
        settings = msgspec.toml.decode(path.read_bytes(), type=Settings)
        for each in settings.witnesses:
            each.verifier()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, Malformed) as error:
        raise SettingsWrong(f"{path}: cannot be read ({error}); role publisher writes it, run it again") from error
    return settings
