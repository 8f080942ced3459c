"""Names of the Docker API made from ours, the one base of every model struct, and what every stored object has."""

from __future__ import annotations

from typing import dataclass_transform

import msgspec

_WORDS = {
    "apparmor": "AppArmor",
    "ca": "CA",
    "cas": "CAs",
    "cpus": "CPUs",
    "dns": "DNS",
    "gid": "GID",
    "id": "ID",
    "ip": "IP",
    "ipam": "IPAM",
    "ips": "IPs",
    "ipv6": "IPv6",
    "os": "OS",
    "pid": "PID",
    "selinux": "SELinux",
    "tls": "TLS",
    "tty": "TTY",
    "uid": "UID",
}


def docker_name(field: str) -> str:
    """Translate a field to the Docker API's spelling: `nano_cpus` → `NanoCPUs`, `secret_id` → `SecretID`."""
    return "".join(_WORDS.get(word, word.capitalize()) for word in field.split("_"))


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=docker_name):
    """A value in the Docker API's vocabulary: immutable, compared by content, the same struct in JSON and msgpack.

    Fields left at their default are not written. Instants are Unix seconds, durations nanoseconds.
    """


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
