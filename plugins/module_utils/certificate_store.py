# Copyright: sensmail.cloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the host keeps its key and certificate, and the authority that is its own."""

from __future__ import annotations

import grp
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.sensmail.cloud.plugins.module_utils.certificate_x509 import (
    CertificateError,
    Pair,
    faults,
    load_chain,
    make_ca,
    make_leaf,
    names_of,
    signed_by,
)


@dataclass(frozen=True)
class Wanted:
    """What the certificate is to be."""

    names: tuple[str, ...]
    now: datetime
    life: timedelta
    renew_before: timedelta
    ca_life: timedelta = timedelta(days=3650)


@dataclass(frozen=True)
class Change:
    """Files to write, each with its mode, or to remove, and why."""

    files: dict[str, tuple[bytes, int] | None]
    reasons: list[str]


@dataclass(frozen=True)
class Store:
    """Two directories: what services read, and what only root and the next renewal read."""

    tls: Path
    ca: Path

    def own_ca(self, wanted: Wanted) -> Change:
        """Renew what the host's own authority has to renew.

        Raises:
            CertificateError: the authority lost its key.
        """
        authority, authority_reasons = self._authority(wanted)
        leaf = self._served()
        reasons = self._leaf_reasons(leaf, authority, wanted)
        files: dict[str, tuple[bytes, int] | None] = {}
        if authority_reasons:
            files[str(self.ca / "key.pem")] = (authority.key, 0o600)
            files[str(self.ca / "ca.pem")] = (authority.chain, 0o644)
        if reasons:
            leaf = make_leaf(authority, wanted.names, wanted.now, wanted.life)
            files |= self._serve(leaf)
        if _read(self.tls / "ca.pem") != authority.chain:
            files[str(self.tls / "ca.pem")] = (authority.chain, 0o644)
            reasons = reasons or ["the authority is not where clients look for it"]
        return Change(files, authority_reasons + reasons)

    def files(self, given: Pair, wanted: Wanted) -> Change:
        """Serve what the operator supplies.

        Raises:
            CertificateError: it cannot be served.
        """
        if found := faults(given, wanted.names, wanted.now, timedelta(0)):
            raise CertificateError("; ".join(found))
        change = Change({}, [])
        if self._served() != given:
            change = Change(self._serve(given), ["the operator supplies another key or certificate"])
        if (self.tls / "ca.pem").exists():
            change.files[str(self.tls / "ca.pem")] = None
            change.reasons.append("the own authority does not sign any more")
        return change

    def _serve(self, pair: Pair) -> dict[str, tuple[bytes, int] | None]:
        # Key first: when a run ends in between, the next one finds that the two do not match and makes both anew.
        return {str(self.tls / "key.pem"): (pair.key, 0o640), str(self.tls / "fullchain.pem"): (pair.chain, 0o644)}

    def _served(self) -> Pair | None:
        key, chain = _read(self.tls / "key.pem"), _read(self.tls / "fullchain.pem")
        return Pair(key, chain) if key and chain else None

    def _authority(self, wanted: Wanted) -> tuple[Pair, list[str]]:
        key, certificate = _read(self.ca / "key.pem"), _read(self.ca / "ca.pem")
        if certificate and not key:
            raise CertificateError(
                f"{self.ca}/key.pem is gone, so no certificate can be signed: put it back, or remove {self.ca}/ca.pem "
                "for a new authority, which every client has to be told of"
            )
        reasons = ["there is no authority yet"]
        if key and certificate:
            present = Pair(key, certificate)
            reasons = [f"the authority: {fault}" for fault in faults(present, (), wanted.now, wanted.renew_before)]
            if not reasons:
                return present, []
        return make_ca(f"sensmail CA of {wanted.names[0]}", wanted.now, wanted.ca_life), reasons

    def _leaf_reasons(self, leaf: Pair | None, authority: Pair, wanted: Wanted) -> list[str]:
        if leaf is None:
            return ["there is no certificate yet"]
        found: list[str] = faults(leaf, wanted.names, wanted.now, wanted.renew_before)
        if not found:
            certificate = load_chain(leaf.chain)[0]
            if not signed_by(certificate, load_chain(authority.chain)[0]):
                found.append("it is not signed by the authority")
            if names_of(certificate) != {name.lower() for name in wanted.names}:
                found.append("it is for more names than are wanted")
        return found


def write(change: Change, group: str) -> None:
    """Replace each file in one act. What services read belongs to their group.

    Raises:
        CertificateError: there is no such group.
    """
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise CertificateError(f"group {group} is not on this host: install the package ssl-cert first") from error
    for path, wanted in change.files.items():
        target = Path(path)
        if wanted is None:
            target.unlink(missing_ok=True)
            continue
        content, mode = wanted
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(fd, 0, gid if mode & 0o040 and not mode & 0o004 else 0)
            os.fchmod(fd, mode)
            os.fsync(fd)
        partial.replace(target)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
