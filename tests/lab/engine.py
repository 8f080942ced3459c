"""The Docker engine of a lab host: containerd and dockerd, as Debian's units run them."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.process import Process

if TYPE_CHECKING:
    from tests.lab.host import Host


def other_docker(host_name: str) -> Path | None:
    """Return the folder of the Docker that a host is to have in place of this machine's, if there is one.

    `SWARM_LAB_DOCKER` names it, for every host (`DIR`) or for single ones (`h2=DIR,h3=DIR`). It is laid out as
    packages unpack: `usr/bin`, `usr/sbin`, and `etc/docker/daemon.json` if dockerd is to have one.
    """
    for entry in os.environ.get("SWARM_LAB_DOCKER", "").split(","):
        name, equals, folder = entry.rpartition("=")
        if folder and (not equals or name == host_name):
            return Path(folder)
    return None


class Engine:
    """containerd and dockerd on one host. Images, containers and volumes stay in `folder` over a reboot.

    A containerd of its own, and not the one that dockerd starts, because that is how Debian runs it (containers
    outlive a killed dockerd) and because dockerd then starts in 0.4 s instead of 1.3 s.
    """

    def __init__(self, host: "Host", folder: Path, socket: Path, cgroup: str, options: Sequence[str]) -> None:
        self.socket = socket
        self._host = host
        self._folder = folder
        self._cgroup = cgroup
        self._options = tuple(options)
        self._containerd: Process | None = None
        self._dockerd: Process | None = None

    @property
    def running(self) -> bool:
        return self._dockerd is not None and self._dockerd.running

    @property
    def pid(self) -> int:
        """The pid of dockerd as this machine numbers it."""
        return self._running_dockerd().pid

    def _running_dockerd(self) -> Process:
        assert self._dockerd is not None, "the engine was never started"
        return self._dockerd

    async def start(self, timeout: float = 50) -> None:
        """Start what does not run yet; return when the API answers."""
        self._folder.mkdir(exist_ok=True)
        if self._containerd is None or not self._containerd.running:
            self._containerd = await self._host.spawn(*self._containerd_argv(), name="containerd", ready=timeout)
        if not self.running:
            self._dockerd = await self._host.spawn(*self._dockerd_argv(), name="dockerd", ready=timeout)

    async def stop(self, sig: int = signal.SIGTERM, timeout: float = 30) -> None:
        """Stop dockerd with this signal: with SIGTERM it stops its containers, with SIGKILL they run on."""
        if self._dockerd is not None:
            await self._dockerd.stop(sig, timeout)
        if sig == signal.SIGKILL:
            await self._host.run("rm", "-f", "/run/docker.pid")  # or the next one refuses to start

    def hang(self) -> None:
        """Stop dockerd from doing anything, until `unhang`: it takes connections and says nothing."""
        self._running_dockerd().kill(signal.SIGSTOP)

    def unhang(self) -> None:
        """Let dockerd go on."""
        self._running_dockerd().kill(signal.SIGCONT)

    async def load(self, image_tar: Path) -> None:
        """Load the images of a `docker save` archive."""
        await self._host.docker("load", "-q", "-i", str(image_tar))

    def _containerd_argv(self) -> tuple[str, ...]:
        root, run = self._folder / "containerd", "/run/containerd"
        places = ("--root", str(root), "--state", run, "--address", f"{run}/containerd.sock")
        return ("containerd", *places, "--log-level", "warn")

    def _dockerd_argv(self) -> tuple[str, ...]:
        return (
            *("dockerd", "--data-root", str(self._folder), "--exec-root", "/run/docker"),
            *("--containerd", "/run/containerd/containerd.sock", "--pidfile", "/run/docker.pid"),
            *("-H", f"unix://{self.socket}", "-H", "unix:///run/docker.sock", "--cgroup-parent", f"/{self._cgroup}"),
            *self._config_file(),
            *self._options,
        )

    def _config_file(self) -> tuple[str, ...]:
        folder = other_docker(self._host.name)
        file = folder and folder / "etc/docker/daemon.json"
        return ("--config-file", str(file)) if file and file.exists() else ()
