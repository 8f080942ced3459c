"""What of a manager's messages cannot be used on this host: said in the log once each, counted, and told to others."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import NamedTuple

from worker.intake.words import is_id, quote_foreign

_TOLD = 3

_log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """An entry that is left out, whole or in part. `kind` and `name` tell it from others, `why` is a sentence."""

    kind: str
    name: str
    why: str

    @property
    def what(self) -> str:
        """Name the entry, in a few words whatever it is called."""
        return f"{self.kind} {self.name if is_id(self.name) else quote_foreign(self.name)}"


class Refusals:
    """Those of the present assignment set."""

    def __init__(self) -> None:
        self._present: dict[tuple[str, str], Refusal] = {}

    def note(self, found: Iterable[Refusal]) -> bool:
        """Take what is refused now; log what is new, and return whether others should hear of a change.

        An entry that is refused for another reason than before is not new: who sends nonsense could fill the log.
        """
        before = self._present
        self._present = {(each.kind, each.name): each for each in found}
        for key, refusal in self._present.items():
            if key not in before:
                _log.warning("%s is left out: %s", refusal.what, refusal.why)
        for key in before.keys() - self._present.keys():
            _log.info("%s is no longer left out", before[key].what)
        return before.keys() != self._present.keys()

    def lacks(self) -> Collection[str]:
        """Say for `NodeDescription.lacks` what is left out, in none of its own words."""
        if not self._present:
            return ()
        named = sorted(each.what for each in self._present.values())
        more = f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""
        return (f"left out, as the manager's entry for it cannot be used: {', '.join(named[:_TOLD])}{more}",)
