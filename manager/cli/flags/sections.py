"""The sections of the help of `service create` and `service update`: what each flag is about."""

from __future__ import annotations

import re
from collections.abc import Mapping

_OTHER = "Options"
# Names of flags, without `--` and without update's `-add` and `-rm`, by section; sections come in this order.
_WORDS: Mapping[str, str] = {
    "Service": "name mode replicas max-concurrent label image args force",
    "Container": (
        "entrypoint env env-file workdir user group hostname container-label init tty read-only stop-signal "
        "stop-grace-period isolation"
    ),
    "Files": "mount secret config credential-spec",
    "Networks": "network publish endpoint-mode host dns dns-option dns-search domainname mac-address",
    "Health": "health-.* no-healthcheck",
    "Placement": "constraint placement-pref replicas-max-per-node",
    "Resources": (
        "limit-.* reserve-.* generic-resource ulimit shm-size memory-.* cpu.* blkio-weight oom-.* storage-opt gpus"
    ),
    "Restarts": "restart-.*",
    "Updates": "update-.* pause continue abort",
    "Rollbacks": "rollback rollback-.*",
    "Rights": (
        "cap-add cap-drop privileged device device-cgroup-rule security-opt sysctl pid ipc uts userns cgroupns "
        "cgroup-parent runtime"
    ),
    "Logs": "log-.*",
}
_PATTERNS = {section: re.compile("|".join(words.split())) for section, words in _WORDS.items()}
SECTIONS = (*_WORDS, _OTHER)


def section_of(flag: str) -> str:
    """Return the section of a flag such as `--env-add`."""
    name = flag.removeprefix("--")
    plain = name.removesuffix("-add").removesuffix("-rm")
    names = (name,) if name.startswith("cap-") else (name, plain)
    return next((section for section, known in _PATTERNS.items() if any(map(known.fullmatch, names))), _OTHER)
