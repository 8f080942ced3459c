"""One machine of the lab."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from tests.lab.engine import Engine, other_docker
from tests.lab.errors import LabError
from tests.lab.namespaces import Namespaces
from tests.lab.process import Process, Readiness, Result, all_at_once, run
from tests.lab.switch import Switch

SCRIPTS = Path(__file__).parent


class Host:
    """A machine with its own network, hostname, processes, /run, /etc and /var/lib; with an engine or without.

    `/run` is empty after a reboot; `/etc`, `/var/lib` and `folder` (same path inside and outside) are kept.
    """

    def __init__(
        self, name: str, ip: str, folder: Path, switch: Switch, cgroup: str, engine_options: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.ip = ip
        a, b, c, d = ip.split(".")
        self.ip6 = f"fd{a}:{b}:{c}::{d}"
        self.folder = folder
        self.docker_sock = folder / "docker.sock"
        self._cgroup = cgroup
        self._engine_options = tuple(engine_options)
        self.engine = self._make_engine()
        self._switch = switch
        self._namespaces: Namespaces | None = None
        self._numbers = count(1)
        self._spawned: list[Process] = []

    def _make_engine(self) -> Engine:
        return Engine(self, self.folder / "docker", self.docker_sock, self._cgroup, self._engine_options)

    @property
    def docker_host(self) -> str:
        """The engine's address, as DOCKER_HOST has it."""
        return f"unix://{self.docker_sock}"

    @property
    def netns(self) -> str:
        """The path of the network namespace, for `nsenter --net=PATH …`. Changes with a reboot."""
        return self._up().net

    @property
    def pid(self) -> int:
        """The pid, as this machine numbers it, of the host's first process."""
        return self._up().pid

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that enters the host: `nsenter …`, to be followed by a program and its arguments."""
        return self._up().enter

    async def boot(self) -> None:
        """Make the namespaces and plug the host in. The engine is not started."""
        if self._namespaces is not None:
            raise LabError(f"{self.name} is up already")
        self.folder.mkdir(exist_ok=True)
        (self.folder / "log").mkdir(exist_ok=True)
        self._namespaces = await Namespaces.make(*self._boot_command())
        await self._switch.plug(self.name, self._namespaces, self.ip, self.ip6)

    def _boot_command(self) -> tuple[str, ...]:
        return ("sh", str(SCRIPTS / "boot.sh"), self.name, str(self.folder), self._switch.gateway)

    async def power_off(self) -> None:
        """Kill every process of the host at once: agents, engine, containers."""
        if self._namespaces is None:
            return
        namespaces, self._namespaces = self._namespaces, None
        await namespaces.destroy()
        await self._reap()
        await self._switch.unplug(self.name)

    async def reboot(self, engine: bool = True) -> None:
        """Lose power and boot again, with what is on disk; the cable is whole and the engine started (or not)."""
        await self.power_off()
        await self.boot()
        if engine:
            await self.engine.start()

    async def cut(self) -> None:
        """Cut the cable."""
        await self._switch.set_port(self.name, up=False)

    async def mend(self) -> None:
        """Mend the cable; does nothing if it is whole."""
        await self._switch.set_port(self.name, up=True)

    async def limit(self, rate: str) -> None:
        """Let the cable carry no more than this in each direction, such as `10gbit`, until the host is rebooted."""
        await self._switch.limit(self.name, self._up(), rate)

    async def run(
        self,
        *argv: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,  # noqa: A002  # subprocess.run's own name for it
        timeout: float = 60,
    ) -> Result:
        """Run a command on the host; CommandError with its output when it fails (check) or takes too long.

        `env` is added to the host's environment, where DOCKER_HOST names its own engine.
        """
        return await run(
            *map(str, argv),
            check=check,
            env=self._environment(env),
            input=input,
            timeout=timeout,
            enter=self._entered(),
            where=self.name,
        )

    async def docker(self, *argv: str | Path, check: bool = True, input: str | bytes | None = None) -> str:  # noqa: A002
        """Run the docker command line against the host's own engine; return what it printed, stripped."""
        return (await self.run("docker", *argv, check=check, input=input)).stdout.strip()

    async def spawn(
        self,
        *argv: str | Path,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        ready: float | None = None,
    ) -> Process:
        """Start a long-running program on the host.

        Its output goes to `folder/log/NAME.NUMBER`. With `ready`, return when it has sent READY=1 to NOTIFY_SOCKET
        (sd_notify), and raise LabError with the end of its log when it did not within so many seconds.
        """
        number = next(self._numbers)
        name = name or Path(argv[0]).name
        log = self.folder / "log" / f"{name}.{number}"
        environment = self._environment(env)
        if ready is None:
            return await self._start(argv, environment, log)
        readiness = Readiness(self.folder / f"notify.{number}")
        try:
            environment["NOTIFY_SOCKET"] = str(readiness.path)
            process = await self._start(argv, environment, log)
            await self._until_ready(process, readiness, ready)
        finally:
            readiness.close()
        return process

    async def _start(self, argv: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> Process:
        process = await Process.start([*map(str, argv)], self._entered(), environment, log)
        self._spawned.append(process)
        return process

    async def _reap(self) -> None:
        """Wait for the ends of programs that are dead: else the event loop may be closed before it hears of them."""
        spawned, self._spawned = self._spawned, []
        await all_at_once(process.reap() for process in spawned)

    async def _until_ready(self, process: Process, readiness: Readiness, timeout: float) -> None:
        try:
            await readiness.wait(process.wait(timeout * 2), timeout)
        except LabError as error:
            raise LabError(f"{' '.join(process.argv)} on {self.name}: {error}\n{process.tail()}") from None

    async def start_engine(self) -> None:
        """Start containerd and dockerd; return when the API answers."""
        await self.engine.start()

    async def stop_engine(self, sig: int = signal.SIGTERM) -> None:
        """Stop dockerd. SIGTERM stops its containers first; SIGKILL leaves them running."""
        await self.engine.stop(sig)

    async def restart_engine(self, sig: int = signal.SIGTERM) -> None:
        await self.engine.stop(sig)
        await self.engine.start()

    def _entered(self) -> tuple[str, ...]:
        return (*self.enter, f"--wdns={Path.cwd()}")

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        scripts = Path(sys.executable).parent  # where swarm-manager and swarm-worker of this environment are
        docker = other_docker(self.name)
        engine = f"{docker}/usr/sbin:{docker}/usr/bin:" if docker else ""
        path = f"{scripts}:{engine}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "DOCKER_HOST": self.docker_host, **(more or {})}

    def _up(self) -> Namespaces:
        if self._namespaces is None:
            raise LabError(f"{self.name} is off: boot() it first")
        return self._namespaces
