"""Every way to ask wrongly, with real values in hand; prints what the errors say."""

import json
import sys
from collections.abc import Iterator
from uuid import UUID, uuid4

from sensmail.fields import row_key
from sensmail.keyd.client import KeyService
from sensmail.keyd.errors import KeyServiceError
from sensmail.keyd.protocol import Actor, Sealed, Sealing

EMAIL, OTHER, OPEN, NONE = 5, 6, 2, 99  # field numbers: of the value, of another item, of an open item, of none
WHO = Actor("erasure-test")


def wrong_seals(subject: UUID, row: bytes, value: bytes) -> Iterator[Sealing]:
    yield Sealing(uuid4(), EMAIL, row, value)
    yield Sealing(subject, NONE, row, value)
    yield Sealing(subject, OPEN, row, value)


def wrong_opens(subject: UUID, row: bytes, value: bytes, envelope: bytes) -> Iterator[tuple[Sealed, str]]:
    altered = envelope[:-1] + bytes([envelope[-1] ^ 1])
    yield Sealed(subject, EMAIL, row, altered), "request"
    yield Sealed(subject, EMAIL, row, value), "request"
    yield Sealed(subject, OTHER, row, envelope), "request"
    yield Sealed(subject, EMAIL, row, envelope), "otp_code"
    yield Sealed(subject, EMAIL, row, envelope), "marketing"


def main() -> None:
    said: list[str] = []
    with KeyService() as keys:
        [subject] = keys.new_subjects()
        row = row_key(subject)
        for value in [each.encode() for each in json.load(sys.stdin)["values"]]:
            [envelope] = keys.seal([Sealing(subject, EMAIL, row, value)])
            for sealing in wrong_seals(subject, row, value):
                try:
                    keys.seal([sealing])
                except KeyServiceError as error:
                    said.append(f"{type(error).__name__}: {error}")
                else:
                    raise SystemExit(f"sealed, but should be refused: field {sealing.field}")
            for sealed, purpose in wrong_opens(subject, row, value, envelope):
                try:
                    keys.open(sealed, purpose, WHO)
                except KeyServiceError as error:
                    said.append(f"{type(error).__name__}: {error}")
                else:
                    raise SystemExit(f"opened, but should be refused: field {sealed.field} for {purpose}")
                said += keys.check([sealed], "errors")
    json.dump(said, sys.stdout)


main()
