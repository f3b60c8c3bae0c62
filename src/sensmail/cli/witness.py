"""`sensmail witness`: how cosigning goes, on the witness and on the host whose logs it watches."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from sensmail.cli.errors import CommandError
from sensmail.cli.witness_show import publisher_text, witness_text
from sensmail.records import reading
from sensmail.records.publisher import settings as publisher_settings
from sensmail.records.publisher import state
from sensmail.records.publisher.settings import Settings as PublisherSettings
from sensmail.records.witness import ask, keys
from sensmail.records.witness import settings as witness_settings
from sensmail.store import connect

JOBS = "sensmail-jobs"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    group = commands.add_parser("witness", help="the witness: what it has cosigned, alarms, keys")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="how cosigning goes; on the witness or on the mail host")
    status.set_defaults(run=_status)
    check = actions.add_parser("check", help="only what is wrong; exit 1 when there is something")
    check.set_defaults(run=_check)
    key = actions.add_parser("key", help="on the witness: its key, for publishers and auditors")
    key.set_defaults(run=_key)
    logs = actions.add_parser("logs", help="on the mail host: keys of its logs, for witnesses and auditors")
    logs.add_argument("--json", action="store_true", help="for programs")
    logs.set_defaults(run=_logs)


def _status(_: argparse.Namespace) -> int:
    sys.stdout.write("\n".join(text for text, _ in _sides()))
    return 0


def _check(_: argparse.Namespace) -> int:
    found = [alarm for _, alarms in _sides() for alarm in alarms]
    print("\n".join(found) or "no alarm")
    return 1 if found else 0


def _key(_: argparse.Namespace) -> int:
    settings = witness_settings.load(witness_settings.PATH)
    public = keys.public(Path(settings.public))
    print(f"{public.key}\ncertificate sha256 {public.certificate}")
    return 0


def _logs(options: argparse.Namespace) -> int:
    with connect(JOBS) as connection:
        found = [each.log_key for each in reading.states(connection)]
    print(json.dumps(found) if options.json else "\n".join(found))
    return 0


def _sides() -> list[tuple[str, list[str]]]:
    """Text and alarms of what this host is: a witness, a host that is watched."""
    now, sides = int(time.time()), []
    if witness_settings.PATH.exists():
        settings = witness_settings.load(witness_settings.PATH)
        watched = list(ask.ask(settings, now))
        sides.append((witness_text(settings, watched, now), [alarm for each in watched for alarm in each.alarms]))
    if publisher_settings.PATH.exists():
        given = publisher_settings.load(publisher_settings.PATH)
        sides.append(_publishing(given, now))
    if not sides:
        raise CommandError(
            "this host is no witness and publishes to none: there is neither witness.toml nor publisher.toml"
        )
    return sides


def _publishing(settings: PublisherSettings, now: int) -> tuple[str, list[str]]:
    if not settings.witnesses:
        return publisher_text(settings, None, [], now), []
    current = state.read(publisher_settings.STATE)
    alarms = list(state.alarms(current, settings, now))
    return publisher_text(settings, current, alarms, now), alarms
