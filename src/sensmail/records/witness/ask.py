"""What a witness says of itself, on its own host: asked of the running service, so that one that hangs shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sensmail.records import checkpoint, cosignature
from sensmail.records.errors import RecordsError
from sensmail.records.note import VerifierKey
from sensmail.records.publisher.client import Client
from sensmail.records.publisher.settings import Witness
from sensmail.records.witness import keys, watch
from sensmail.records.witness.settings import Settings
from sensmail.records.witness.watch import Seen

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True)
class Watched:
    """One log: what was seen of it last, and what is wrong with it, a sentence each."""

    log: VerifierKey
    seen: Seen | None
    alarms: tuple[str, ...]


def ask(settings: Settings, now: int) -> Iterator[Watched]:
    """Every log of this witness. Raises WitnessFailure: its own settings are wrong."""
    public = keys.public(Path(settings.public))
    address = settings.listen[0]
    host = _ANY.get(address, f"[{address}]" if ":" in address else address)
    client = Client(Witness(f"https://{host}:{settings.port}", public.key, public.certificate))
    for log in settings.log_keys():
        try:
            note = client.newest(log)
        except RecordsError as error:
            yield Watched(log, None, (f"{watch.short(log.name)}: {error}",))
            continue
        seen = Seen(checkpoint.parse(note.text), cosignature.cosigned(note, client.key)) if note else None
        limits = {"silent_minutes": settings.silent_minutes, "skew_s": settings.skew_seconds}
        yield Watched(log, seen, tuple(watch.alarms(log.name, seen, now, **limits)))
