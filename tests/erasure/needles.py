"""Secrets as needles, and the search for them: raw, hexadecimal and base64, in files, streams and a raw disk.

A needle never stands in an argument or in a file: `grep` gets all of them on standard input.
"""

from __future__ import annotations

import base64
import fcntl
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

PIPE_BYTES = 2**20
BLOCK_BYTES = 2**22
SHORTEST = 10  # bytes that still tell a secret from chance


def forms(secret: bytes) -> set[bytes]:
    """Every way in which a secret may have been written down, as patterns without a line break.

    In base64 the letters depend on what stands before the secret: all three alignments are made, without the letters at
    either end that a neighbour could change.
    """
    made = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret)
        first = -(-8 * before // 6)
        inner = text[first : (8 * (before + len(secret))) // 6]
        made |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return {max(each.split(b"\n"), key=len) for each in made}


def patterns(secrets: Iterable[bytes]) -> bytes:
    """All forms of all secrets, as `grep -f` reads them.

    Raises:
        ValueError: a secret is so short that it would be found by chance.
    """
    lines = {form for secret in secrets for form in forms(secret)}
    if not lines or min(map(len, lines)) < SHORTEST:
        raise ValueError(f"nothing to search for, or a needle of less than {SHORTEST} bytes")
    return b"\n".join(sorted(lines)) + b"\n"


def in_bytes(data: bytes, secrets: Iterable[bytes]) -> list[bytes]:
    """The secrets that `data` holds in any form."""
    return [secret for secret in secrets if any(form in data for form in forms(secret))]


def in_files(secrets: Iterable[bytes], *paths: Path, prefix: Sequence[str] = ()) -> list[str]:
    """Files below `paths` that hold a secret in any form.

    Args:
        secrets: what to search for.
        paths: files and directories; what vanishes during the search is passed over.
        prefix: a command that runs `grep` elsewhere, for example by SSH; standard input reaches it.
    """
    command = [*prefix, "env", "LC_ALL=C", "grep", "-rlasF", "-D", "skip", "-f", "-", *map(str, paths)]
    done = subprocess.run(command, input=patterns(secrets), capture_output=True, check=False)
    if done.returncode not in {0, 1, 2} or done.stderr:  # 2: some file could not be read, as when it vanished
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.stdout.decode(errors="replace").splitlines()


def counts(image: Path, secrets: Mapping[str, bytes]) -> dict[str, int]:
    """How often each secret stands in a sparse disk image, in any form; one pass over it for all of them."""
    names = {form: name for name, secret in secrets.items() for form in forms(secret)}
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)  # so that all patterns fit before grep reads them
    with open(writing, "wb") as pipe:
        pipe.write(patterns(secrets.values()))
    command = ["grep", "-oahUF", "-f", f"/dev/fd/{reading}", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[reading], env={**os.environ, "LC_ALL": "C"}
    ) as grep:
        os.close(reading)
        assert grep.stdin
        assert grep.stdout
        feeder = threading.Thread(target=_feed, args=(image, grep.stdin))
        feeder.start()
        found = Counter(names[line.rstrip(b"\n")] for line in grep.stdout)
        feeder.join()
    if grep.returncode not in {0, 1}:
        raise RuntimeError(f"grep of {image} ended with {grep.returncode}")
    return {name: found[name] for name in secrets}


def _feed(image: Path, out: IO[bytes]) -> None:
    """What was ever written to the image: its holes are passed over."""
    with image.open("rb") as disk, out:
        end = 0
        while True:
            try:
                start = os.lseek(disk.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: no more data
                return
            end = os.lseek(disk.fileno(), start, os.SEEK_HOLE)
            disk.seek(start)
            while (left := end - disk.tell()) > 0:
                out.write(disk.read(min(left, BLOCK_BYTES)))
            out.write(b"\n")
