"""A host in one directory: database, key file in two places, key service, rows, and the actors that use them all."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from keys_kill.cluster import Cluster
from keys_kill.groups import units
from keys_kill.namespace import private
from keys_kill.program import Program
from keys_kill.settings import environment, write
from sensmail.keys import FileRoot, Keyring, Place

ROTATE, SESSION = "sensmail-rotate.service", "session-1.scope"
READY_S = 60.0
ANSWER_S = 300.0
WRITER_ROWS = 1500  # rows of one writer
PAUSES_S = {"reader one": 0.02, "reader many": 0.3, "writer a": 0.01, "writer b": 0.01, "newcomer": 0.2}
ROTATED = "application_name = 'sensmail' AND usename = 'sensmail-jobs'"  # the worker's session among all others


class Rig:
    """See the module; `rig` makes one.

    Attributes:
        cluster: the database server.
        places: directories of the key file.
        root: file with the root key.
        keyd: the key service, over all its lives.
        people: ids of the persons that were there from the beginning.
        workers: the process that carries out each operation; started again it resumes.
    """

    def __init__(self, home: Path, cluster: Cluster, groups: dict[str, Path], inside: list[str]) -> None:
        self.home, self.cluster = home, cluster
        self.places = [home / "ring", home / "ring-second"]
        self.root = home / "credentials" / "sensmail-root_1"
        self._groups, self._inside = groups, inside
        self._actors: dict[str, Program] = {}
        self.people: list[UUID] = []
        actions = {"reseal": "reseal", "roll": "roll", "destroy": "destroy_replaced"}
        self.workers = {
            name: self._program(name, ["keys_kill.rotate", action], ROTATE) for name, action in actions.items()
        }
        self.keyd = self._program("keyd", ["sensmail.keyd"])

    def strike(self, target: str, worker: Program) -> bool:
        """Kill the target; false where it was not there."""
        match target:
            case "worker":
                return worker.kill()
            case "keyd":
                return self.keyd.kill()
            case "backend":
                return self.cluster.kill_backend(ROTATED) or self.cluster.kill_backend("usename = 'sensmail-keyd'")
            case "database":
                self.cluster.restart()
                return True
        raise ValueError(target)

    def mend(self) -> None:
        """Start again what died, as systemd would."""
        self.cluster.wait()
        if not self.keyd.alive:
            self.start_keyd()

    def start_keyd(self) -> None:
        """Start the key service and wait until it serves."""
        self.keyd.start()
        if not self.keyd.wait_line("serving", READY_S):
            raise RuntimeError(f"keyd does not come up:\n{self.keyd.tail()}")

    def load(self, rows: int) -> list[UUID]:
        """Fill the database; returns the ids of the tenant and then of the persons."""
        file = self.home / "ids"
        loader = self._program("load", ["keys_kill.rows", str(self.home / "pg"), str(rows), str(file)], SESSION)
        loader.start()
        if loader.wait():
            raise RuntimeError(f"rows cannot be loaded:\n{loader.tail()}")
        return [UUID(line) for line in file.read_text().split()]

    def start_actors(self, tenant: UUID, ids: list[UUID], seed: int) -> None:
        """Readers, writers, a newcomer and the auditor, each a process of its own."""
        self.people = ids
        told: dict[str, dict[str, Any]] = {
            "reader one": {"kind": "reader", "batch": 1, "seed": seed},
            "reader many": {"kind": "reader", "batch": 100, "seed": seed + 1},
            "writer a": {"kind": "writer", "ids": ids[:WRITER_ROWS], "seed": seed + 2},
            "writer b": {"kind": "writer", "ids": ids[WRITER_ROWS : 2 * WRITER_ROWS], "seed": seed + 3},
            "newcomer": {"kind": "newcomer", "tenant": str(tenant), "count": 3},
            "auditor": {"kind": "auditor", "ids": ids, "seed": seed + 4},
        }
        for name, words in told.items():
            if "ids" in words:
                file = self.home / f"{name}.ids"
                file.write_text("\n".join(map(str, words["ids"])))
                words["ids"] = str(file)
            words |= {"database": str(self.home / "pg"), "pause_s": PAUSES_S.get(name, 1.0)}
            self._actors[name] = self._program(name, ["keys_kill.workload", json.dumps(words)], SESSION)
            self._actors[name].start()

    def ask(self, word: str) -> dict[str, dict[str, Any]]:
        """Every actor's answer to `report` and to the word; what one has failed at is in both."""
        answers: dict[str, dict[str, Any]] = {}
        for asked in ("report", word):
            since = {name: len(actor.lines) for name, actor in self._actors.items()}
            for name, actor in self._actors.items():
                if not actor.alive:
                    raise RuntimeError(f"{name} has ended:\n{actor.tail()}")
                actor.tell(asked)
            for name, actor in self._actors.items():
                found = actor.wait_line(r"^\{.*\}$", ANSWER_S, since[name])
                if found is None:
                    raise RuntimeError(f"{name} does not answer:\n{actor.tail()}")
                answers.setdefault(name, {}).update(json.loads(found[0]))
        return answers

    def close(self) -> None:
        """End every process."""
        for program in (*self.workers.values(), *self._actors.values(), self.keyd):
            if program.alive:
                program.kill()

    def _program(self, name: str, module: list[str], unit: str | None = None) -> Program:
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        group = self._groups[unit] if unit else None
        command = [*self._inside, sys.executable, "-m", *module]
        return Program(name, command, log, extra=environment(self.home), group=group)


@contextlib.contextmanager
def rig(home: Path, rows: int, seed: int) -> Iterator[Rig]:
    """A running rig with `rows` persons."""
    with units(ROTATE, SESSION) as groups, Cluster(home / "pg") as cluster, private(home) as inside:
        one = Rig(home, cluster, groups, inside)
        write(home, one.places, cluster)
        with Keyring.create([Place(each) for each in one.places], FileRoot(one.root), None):
            pass
        try:
            one.start_keyd()
            tenant, *ids = one.load(rows)
            one.start_actors(tenant, ids, seed)
            yield one
        finally:
            one.close()
