"""What every stored object has."""

from __future__ import annotations

from common.model.naming import Model


class Version(Model):
    """The store index of an object's last change: the number that `?version=` must repeat."""

    index: int = 0


class Object(Model):
    """A stored object. `created_at` and `updated_at` are Unix seconds; the store sets them and `version` at commit."""

    id: str = ""
    version: Version = Version()
    created_at: float = 0.0
    updated_at: float = 0.0
