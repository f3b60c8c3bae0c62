"""What every HTTP service of ours does alike: a whole body or none, in bounded time, and no log of what was sent."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRefused(Exception):
    """The body is too large, too slow or cut off; the text says which."""


class Full(asyncio.Protocol):
    """What answers a connection above the limit: it is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()  # type: ignore[attr-defined]


async def body(request: web.BaseRequest, seconds: float) -> bytes:
    """The whole body, at most as long as the request's own limit.

    Raises:
        BodyRefused: it did not arrive in that time, is too long, or is not whole.
    """
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise BodyRefused(f"the message did not arrive within {seconds:.0f} s") from None
    except web.HTTPRequestEntityTooLarge as error:
        raise BodyRefused(f"too many bytes: {error.text}; send less at once") from None
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise BodyRefused(f"the message is not whole: {type(error).__name__}") from None


def without_data(record: logging.LogRecord) -> bool:
    """A filter for aiohttp's log, whose errors quote what was sent."""
    record.exc_info = record.exc_text = None
    return True
