"""What every stored object has."""

from __future__ import annotations

from common.model.naming import Model


class Version(Model):
    """The store index of an object's last change: the number that a client repeats as `?version=` in an update."""

    index: int = 0


class Object(Model):
    """A stored object. `created_at` and `updated_at` are Unix seconds; the store sets them and `version` at commit."""

    id: str = ""
    version: Version = Version()
    created_at: float = 0.0
    updated_at: float = 0.0


class Specified(Object):
    """An object that a client may give another specification, `spec`, in an update that repeats its version.

    `spec_index` is the store index at which the specification changed last, set by the store; 0 where it was last
    written before there was such a number. What a client has read at or after it is not stale.
    """

    spec_index: int = 0

    def is_current(self, index: int) -> bool:
        """Whether the specification is still the one that a client read at this index."""
        return (self.spec_index or self.version.index) <= index <= self.version.index
