"""The witness as a whole: its key, its logs, its socket; one process a store."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensmail.host import systemd
from sensmail.host.files import Files
from sensmail.records.note import VerifierKey
from sensmail.records.witness import keys, log
from sensmail.records.witness.app import App
from sensmail.records.witness.errors import WitnessFailure
from sensmail.records.witness.log import Log, Signer
from sensmail.records.witness.settings import Settings

LOG = logging.getLogger(__name__)
HANDSHAKE_S = 5.0
BACKLOG = 32


def run(settings: Settings, credentials: Path, files: Files | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: of the service.
        credentials: directory with the two private keys, as systemd hands them over.
        files: the steps on the disk.

    Raises:
        WitnessFailure: an operator has to act. OSError: of a socket.
    """
    signer = Signer(settings.name, keys.signing_key(credentials))
    keys.check_public(Path(settings.public), signer.key)
    store = Path(settings.store)
    with _alone(store):
        logs = [_log(each, signer, store, files) for each in settings.log_keys()]
        context = _tls(Path(settings.public) / keys.CERTIFICATE, credentials / keys.TLS)
        asyncio.run(_serve(settings, logs, signer, context))


async def _serve(settings: Settings, logs: list[Log], signer: Signer, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: WitnessFailure | None = None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)

    def fail(error: WitnessFailure) -> None:
        loop.call_soon_threadsafe(end, error)

    app = App(logs, signer.key.to_text(), fail)
    serving = app.server()
    listening = await loop.create_server(
        serving, settings.listen, settings.port, ssl=context, ssl_handshake_timeout=HANDSHAKE_S, backlog=BACKLOG
    )
    systemd.notify("READY=1", f"STATUS={len(logs)} logs watched as {settings.name}")
    LOG.info("%s: %s logs watched", signer.key.to_text(), len(logs))
    try:
        await ended
    finally:
        systemd.notify("STOPPING=1")
        listening.close()
        await serving.shutdown(5.0)
        app.close()


def _log(key: VerifierKey, signer: Signer, store: Path, files: Files | None) -> Log:
    path = log.path(store, key.name)
    if not path.exists():
        (files or Files()).create(path, b"")
        (files or Files()).fsync_directory(store)
    return Log(key, signer, store, files)


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Two processes with one store would each judge by what they remember."""
    fd = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise WitnessFailure(f"{store}: another witness works on it; stop that one first") from None
    finally:
        os.close(fd)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise WitnessFailure(f"{certificate}: does not fit its key ({error}); run role witness again") from error
    return context
