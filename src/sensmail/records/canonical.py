"""Canonical JSON: one value, one text. Source: RFC 8785, for strings, integers, null, lists and objects.

Numbers are integers up to 2^53 - 1 either way: those alone are the same for every reader of JSON. Names are ASCII, so
that their order is the same by character, by byte and by UTF-16.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from sensmail.records.errors import Malformed

LARGEST = 2**53 - 1
Integer = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Plain = str | Integer | None
#: An object of the kind that a record's detail is.
Detail = dict[Name, Plain | list[Plain]]

_encoder = msgspec.json.Encoder(order="sorted")
_detail = msgspec.json.Decoder(Detail)
encode = _encoder.encode


def detail(text: bytes) -> bytes:
    """A JSON object in the one canonical form. Whatever else stands there becomes one string, so that nothing is lost.

    Args:
        text: any JSON, as the database gives it.

    Raises:
        Malformed: not UTF-8.
    """
    if text == b"{}":
        return text
    try:
        return encode(_detail.decode(text))
    except (msgspec.MsgspecError, RecursionError):
        try:
            return encode({"unfit": text.decode()})
        except UnicodeDecodeError:
            raise Malformed("detail: not UTF-8") from None


def check_detail(text: bytes) -> dict[str, Any]:
    """Read a detail that must be canonical already. Raises Malformed."""
    try:
        value: dict[str, Any] = _detail.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"detail: {error}") from None
    if encode(value) != bytes(text):
        raise Malformed("detail: not in canonical form")
    return value
