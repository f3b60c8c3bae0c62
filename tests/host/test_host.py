"""What holds for the host as a whole, whatever the roles."""

from __future__ import annotations

import json

from testinfra.host import Host


def test_systemd_is_content(host: Host) -> None:
    state = host.run("systemctl is-system-running --wait")
    failed = host.check_output("systemctl --failed --no-legend --plain")
    assert (state.stdout.strip(), failed) == ("running", "")


def test_every_managed_file_is_what_its_role_left(host: Host) -> None:
    """The manifests hold the digest of every file; a unit or a package must not have changed one behind our back."""
    manifests = host.check_output("ls /var/lib/sensmail/manifest").split()
    assert manifests
    for name in manifests:
        claimed = json.loads(host.check_output(f"cat /var/lib/sensmail/manifest/{name}"))["files"]
        listing = host.check_output("sha256sum -- " + " ".join(f"'{path}'" for path in claimed)) if claimed else ""
        found = {path: digest for digest, _, path in (line.partition("  ") for line in listing.splitlines())}
        assert found == {path: _digest(entry) for path, entry in claimed.items()}, name


def _digest(entry: object) -> object:
    return entry["sha256"] if isinstance(entry, dict) else entry


def test_nothing_secret_is_world_readable(host: Host) -> None:
    found = host.check_output(
        r"find /etc/sensmail /var/lib/sensmail /etc/rspamd /etc/postfix /etc/dovecot -xdev -type f -perm -o=r"
        r" \( -name '*.key' -o -name 'key.pem' -o -name '*.cred' \) 2>/dev/null || true"
    )
    assert found == ""
