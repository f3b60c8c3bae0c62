"""What a witness reads at its start: `/etc/sensmail/witness.toml`, written by role `witness`. It holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from sensmail.records.errors import Malformed
from sensmail.records.note import VerifierKey
from sensmail.records.witness.errors import WitnessFailure
from sensmail.records.witness.log import stem
from sensmail.records.witness.watch import SILENT_MINUTES, SKEW_S

PATH = Path("/etc/sensmail/witness.toml")
STORE = Path("/var/lib/sensmail-witness")
PUBLIC = Path("/etc/sensmail/witness")
MAX_LOGS = 64
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of the service.

    Attributes:
        name: of the witness, as it stands in every cosignature.
        listen: addresses. store: directory of the notes. public: of the verifier key and the certificate.
        logs: verifier keys of the logs that are watched, NAME+id+key.
        same_controller: whether whoever administers the mail host administers this witness as well.
    """

    name: str
    listen: list[str]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    logs: Annotated[list[str], msgspec.Meta(max_length=MAX_LOGS)]
    same_controller: bool
    silent_minutes: Positive = SILENT_MINUTES
    skew_seconds: Positive = SKEW_S
    store: str = str(STORE)
    public: str = str(PUBLIC)

    def log_keys(self) -> list[VerifierKey]:
        """Raises WitnessFailure."""
        try:
            keys = [VerifierKey.from_text(each) for each in self.logs]
            stems = [stem(each.name) for each in keys]
        except Malformed as error:
            raise WitnessFailure(f"logs: {error}") from error
        if len({*stems}) != len(stems):
            raise WitnessFailure("logs: two of them are one log; name each once")
        return keys


def load(path: Path = PATH) -> Settings:
    """Read the settings. Raises WitnessFailure."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WitnessFailure(
            f"{path}: cannot be read ({error}); run role witness again, it writes this file"
        ) from error
