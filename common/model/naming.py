"""Names of the Docker API made from ours, and the one base of every model struct."""

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
