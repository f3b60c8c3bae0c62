"""What must hold after a kill, asked of everybody who knows: actors, auditor, the slots in every place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keys_kill import slots
from keys_kill.report import Report
from keys_kill.rig import Rig
from sensmail.keys import FileRoot, KeyFailure, Place
from sensmail.keys.material import KeyState
from sensmail.keys.replicas import read_copy


class Audit:
    """The answers are kept in the report.

    Attributes:
        destroyed: the keys that the last completed reseal replaced are destroyed.
    """

    def __init__(self, rig: Rig, report: Report) -> None:
        self._rig, self._report = rig, report
        self._slots: dict[tuple[int, bytes], slots.Slot] = {}
        self._people = 0
        self._searched = 0  # epoch until which every ended one was searched for in full
        self._resealed = False  # since the auditor last kept old values
        self.destroyed = True

    def remember_slots(self) -> None:
        """Epoch keys that some place holds now: once they have ended, no place may."""
        for place in self._rig.places:
            self._slots |= {(slot.epoch, slot.wrapped): slot for slot in slots.slots(place) if slot.live}

    def completed(self, operation: str) -> None:
        """What the next checks may expect."""
        self.remember_slots()
        if operation == "reseal":
            self._resealed, self.destroyed = True, False
        elif operation == "destroy":
            self.destroyed = True

    def quick(self, *, rolling: bool) -> list[str]:
        """What can have changed since the last check, and a sample of the rest. Returns what must not be.

        Args:
            rolling: a roll may have been cut off that is not completed yet: then places may differ.
        """
        return self._problems("check") + ([] if rolling else self._in_places(self._searched))

    def full(self) -> list[str]:
        """Every row; with nothing at work."""
        wrong = self._problems("check full") + self._in_places(0)
        wrong += [problem for place in self._rig.places for problem in self._copy(place)]
        self._searched = slots.epoch(self._rig.places[0])
        auditor = self._report.actors["auditor"]
        if self._resealed and self.destroyed:
            if set(auditor["old"]) != {"destroyed"}:
                wrong.append(f"values from before the reseal are under keys that are {auditor['old']}, not destroyed")
            if auditor["old_open"]:
                wrong.append(f"{auditor['old_open']} values from before the reseal open still")
            if auditor["kept_keys"]:
                wrong.append(f"{auditor['kept_keys']} keys are kept for restores, though all were destroyed")
            if auditor["destroying"]:
                wrong.append("the key service says that keys are not destroyed in every place yet")
            self._report.forgotten += sum(auditor["old"].values())
        self._resealed = False
        return wrong

    def _problems(self, word: str) -> list[str]:
        answers = self._rig.ask(word)
        for name, answer in answers.items():
            self._report.actors[name] = {**self._report.actors.get(name, {}), **answer}
        wrong = [problem for name, answer in answers.items() for problem in _told(name, answer)]
        self._people = len(self._rig.people) + answers["newcomer"]["done"]
        if answers["auditor"]["rows"] < self._people:
            wrong.append(f"{answers['auditor']['rows']} rows, but there were {self._people}")
        return wrong

    def _copy(self, place: Path) -> Iterator[str]:
        """What would come back if this place were all that is left: it opens by itself, and holds everybody's keys."""
        try:
            _, state = read_copy(Place(place), FileRoot(self._rig.root))
        except KeyFailure as failure:
            yield f"{place}: does not open by itself: {failure}"
            return
        states = state.states()
        if states[KeyState.ACTIVE] < self._people:
            yield f"{place}: holds the keys of {states[KeyState.ACTIVE]} persons, and there are {self._people}"
        if self.destroyed and states[KeyState.RESTORE_ONLY]:
            yield f"{place}: still holds {states[KeyState.RESTORE_ONLY]} keys that were destroyed"

    def _in_places(self, since: int) -> list[str]:
        """Each place holds key and snapshot of the same epoch, and no key of an ended one, since the given."""
        try:
            live = [slots.live(place) for place in self._rig.places]
        except AssertionError as error:
            return [str(error)]
        wrong = [] if live == [live[0]] * len(live) else [f"places hold keys of epochs {[each.epoch for each in live]}"]
        ended = [slot for slot in self._slots.values() if slot != live[0] and slot.epoch >= since]
        for place in self._rig.places:
            if slots.epoch(place) != live[0].epoch:
                wrong.append(f"{place}: a snapshot of epoch {slots.epoch(place)}, and the key of {live[0].epoch}")
            wrong += [f"{path}: still holds the key of an ended epoch" for path in slots.remains(place, ended)]
        return wrong


def _told(name: str, answer: dict[str, Any]) -> Iterator[str]:
    """What an actor found that must not be."""
    for kind in ("failed", "lost", "missing", "refused"):
        yield from (f"{name}: {kind}: {each}" for each in answer.get(kind, []))
    census = answer.get("census", {})
    yield from (f"{name}: {n} rows under {state} keys" for state, n in census.items() if state != "active")
    if census and sum(census.values()) != answer["rows"]:
        yield f"{name}: census counts {census}, but there are {answer['rows']} rows"
