"""Hosts with a whole file tree of their own: what is installed there is not installed on this machine."""

import signal
from typing import Literal

from tests.lab.engine import Engine
from tests.lab.errors import LabError
from tests.lab.host import SCRIPTS, Host
from tests.lab.process import Readiness

_BOOT_SECONDS = 40.0


class BareMachine(Host):
    """A host that may write anywhere: it starts as a copy of this machine's files, keeps its changes over a reboot.

    It has no init system. `/tmp` and `/run` are its own and empty at boot; `folder` is the same inside and outside.
    """

    init: Literal["none", "systemd"] = "none"

    def _boot_command(self) -> tuple[str, ...]:
        script = str(SCRIPTS / "boot_machine.sh")
        return ("sh", script, self.name, str(self.folder), self._switch.gateway, self._cgroup, self.init)


class SystemdHost(BareMachine):
    """A host that systemd has booted, with containerd.service and docker.service as Debian has them.

    boot() returns when systemd says that the machine is up, the engine included.
    """

    init = "systemd"

    def _make_engine(self) -> Engine:
        return _EngineUnit(self, self.folder / "docker", self.docker_sock, self._cgroup, self._engine_options)

    async def boot(self) -> None:
        self.folder.mkdir(exist_ok=True)
        readiness = Readiness(self.folder / "notify")
        try:
            await super().boot()
            await readiness.wait(self._up().end(), _BOOT_SECONDS)
        except LabError as error:
            raise LabError(f"systemd on {self.name}: {error}") from None
        finally:
            readiness.close()

    async def shut_down(self) -> None:
        """Power off as an administrator does: systemd stops every unit first."""
        await self.run("systemctl", "poweroff", "--no-block")
        await self._up().end()
        await self.power_off()


class _EngineUnit(Engine):
    """docker.service; its sockets and cgroups are given by /etc/default/docker, written at the first boot."""

    _started = False

    @property
    def running(self) -> bool:
        return self._started

    async def start(self, timeout: float = 50) -> None:
        await self._host.run("systemctl", "start", "docker.service", timeout=timeout)
        self._started = True

    async def stop(self, sig: int = signal.SIGTERM, timeout: float = 30) -> None:
        """Stop the unit; with SIGKILL only kill dockerd, which systemd then starts again after two seconds."""
        if sig == signal.SIGTERM:
            await self._host.run("systemctl", "stop", "docker.service", "docker.socket", timeout=timeout)
        else:
            await self._host.run("systemctl", "kill", "--kill-whom=main", f"--signal={int(sig)}", "docker.service")
        self._started = False
