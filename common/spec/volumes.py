"""Whose the data in a named volume is, by its labels and its driver: one node's, a slot's, everybody's. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from common.model.container import Mount
from common.model.service import EXTENSION_PREFIX

SCOPE_LABEL = EXTENSION_PREFIX + "scope"
POLICY_LABEL = EXTENSION_PREFIX + "volume-policy"
WRITERS_LABEL = EXTENSION_PREFIX + "volume-writers"
SNAPSHOT_LABEL = EXTENSION_PREFIX + "snapshot"
LOCAL_DRIVERS = frozenset({"", "local"})
# File systems of the `local` driver that every node reaches: of these only a mount is a node's, not the data.
_NETWORK_TYPES = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p"})
_HEX = frozenset("0123456789abcdef")
_ANONYMOUS_DIGITS = 64


def scope_of(mount: Mount) -> str:
    """Return the scope that a mount's volume has by its label, or, without one, `shared` where the driver says so."""
    options = mount.volume_options
    if options is None:
        return ""
    if scope := options.labels.get(SCOPE_LABEL, ""):
        return scope
    driver = options.driver_config
    return "shared" if driver is not None and is_shared(driver.name, driver.options) else ""


def snapshot_of(mount: Mount) -> str:
    """Return how what writes to a volume is held for the snapshot of it that a task mounts; empty: it mounts none."""
    options = mount.volume_options
    named = mount.type == "volume" and mount.source
    return options.labels.get(SNAPSHOT_LABEL, "") if options is not None and named else ""


def is_shared(driver: str, options: Mapping[str, str], engine_scope: str = "") -> bool:
    """Whether all nodes reach the same data in a volume of this driver; `engine_scope` is what an engine says of it."""
    if driver not in LOCAL_DRIVERS:
        return engine_scope == "global"
    kind = options.get("type", "")
    return kind in _NETWORK_TYPES or kind.startswith("fuse.")


def is_anonymous(name: str) -> bool:
    """Whether an engine has made up a volume's name."""
    return len(name) == _ANONYMOUS_DIGITS and _HEX.issuperset(name)


def with_slot(source: str, scope: str, slot: object) -> str:
    """Return what a volume is called for a slot: by its scope its name ends with the slot's number."""
    return f"{source}.{slot}" if scope == "slot" else source
