"""The manager's machine in Docker's words."""

import platform

import pytest

from manager.api.context import Host, this_host


@pytest.mark.parametrize(("machine", "go"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_architectures_have_gos_names(machine: str, go: str) -> None:
    assert Host("h", "linux", machine, "6", "Debian").go_architecture == go


def test_this_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    found = this_host()
    assert (found.hostname, found.os) == (platform.node(), "linux")

    def no_file() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr(platform, "freedesktop_os_release", no_file)
    assert this_host().operating_system == platform.system()
