"""An audit log in memory."""

from collections.abc import Sequence

from manager.api.access.audit import Entry


class AuditList(list[Entry]):
    """The entries, the oldest first; an `AuditLog` (manager.api.access.audit)."""

    def record(self, entry: Entry) -> None:
        self.append(entry)

    def read(self, before: str, limit: int, *, changes: bool) -> Sequence[Entry]:
        found = [entry for entry in reversed(self) if not before or entry.time < before]
        return [entry for entry in found if not (changes and entry.is_read)][:limit]
