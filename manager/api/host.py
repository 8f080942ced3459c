"""The machine that the manager runs on, as `/info` and `/version` name it."""

from __future__ import annotations

import platform
from dataclasses import dataclass

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Host:
    hostname: str
    os: str
    architecture: str
    kernel: str
    operating_system: str

    @property
    def go_architecture(self) -> str:
        """The architecture as Docker names it, such as amd64 or arm64."""
        return _GO_ARCHITECTURES.get(self.architecture, self.architecture)


def this_host() -> Host:
    """Describe the machine; reads /etc/os-release once."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = platform.system()
    return Host(platform.node(), platform.system().lower(), platform.machine(), platform.release(), name)
