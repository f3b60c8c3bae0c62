"""One life of a host, told once and looked at by several tests.

    officers → persons → backup 1 → roll → backup 2 → reseal → backup 3 → purge and roll
             → copy of the keys → a latecomer → backup 4

Then a second host, which never had the first one's root key, recovers the keys from the copy by two officers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from erasure.pair import BACKUPS, Host
from sensmail.keys import Place, piece
from sensmail.keys.pieces import slot_of

PEOPLE = 12  # of each group
SECOND_PLACE = "/var/lib/sensmail-keyd-second/ring"
BEFORE_ROLL, BEFORE_RESEAL, BEFORE_PURGE, AFTER_COPY = "before-roll", "before-reseal", "before-purge", "after-copy"
BY = "--reason 'erasure test'"
APPROVED = f"{BY} --approver privacy_officer"


@dataclass
class Story:
    """What happened.

    Attributes:
        survivors, purged, latecomer: subject id -> emergency e-mail.
        values: every value that was ever sealed.
        secrets: name -> bytes of every key and every wrapped key that the first host ever had, by the moment seen.
        backups: name -> tar archive of a base backup.
        copy: the second place before the latecomer, as a tar archive.
        said: everything that commands printed.
    """

    survivors: dict[str, str] = field(default_factory=dict)
    purged: dict[str, str] = field(default_factory=dict)
    latecomer: dict[str, str] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    backups: dict[str, bytes] = field(default_factory=dict)
    copy: bytes = b""
    said: list[str] = field(default_factory=list)


class Teller:
    """Lives the story on one host."""

    def __init__(self, host: Host, workshop: Path) -> None:
        self._host, self._workshop = host, workshop
        self.story = Story()
        self.officers = [X25519PrivateKey.generate() for _ in range(3)]

    def tell(self) -> Story:
        """All of it, in order."""
        story = self.story
        self._name_officers()
        story.survivors, story.purged = self._plant(PEOPLE), self._plant(PEOPLE)
        self._collect()
        self._back_up(BEFORE_ROLL)
        self._say(f"sensmail keys roll {BY}")
        self._collect()
        self._back_up(BEFORE_RESEAL)
        self._say(f"sensmail keys rotate --now reseal {BY}")
        self._collect()
        self._back_up(BEFORE_PURGE)
        self._host.script("destroy", subjects=list(story.purged))
        self._collect()
        story.copy = self._host.take(SECOND_PLACE)
        story.latecomer = self._plant(1)
        self._collect()
        self._back_up(AFTER_COPY)
        return story

    def pieces(self, copy: Path) -> tuple[Path, Path]:
        """What two officers make of a copy, each on an own computer."""
        slot = slot_of(Place(copy))
        made = (self._workshop / "one.piece", self._workshop / "two.piece")
        for path, private in zip(made, (self.officers[0], self.officers[2]), strict=True):
            path.write_bytes(piece(private, slot).encode())
        return made

    def _name_officers(self) -> None:
        for number, private in enumerate(self.officers):
            self._host.run(f"cat > /run/{number}.pub", _public(private))
        self._say(f"sensmail keys officers set --yes /run/0.pub /run/1.pub /run/2.pub {APPROVED}")

    def _plant(self, count: int) -> dict[str, str]:
        people = [
            {"name": f"홍길동 {token_hex(12)}", "emergency_email": f"{token_hex(12)}@canary.test"} for _ in range(count)
        ]
        self.story.values += [value for person in people for value in person.values()]
        ids = self._host.script("plant", persons=people)
        return {subject: person["emergency_email"] for subject, person in zip(ids, people, strict=True)}

    def _collect(self) -> None:
        self.story.secrets |= {name: bytes.fromhex(value) for name, value in self._host.script("secrets").items()}

    def _back_up(self, name: str) -> None:
        self._host.back_up(name)
        self.story.backups[name] = self._host.take(f"{BACKUPS}/{name}")

    def _say(self, command: str) -> None:
        self.story.said.append(self._host.run(command))


def _public(private: X25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
