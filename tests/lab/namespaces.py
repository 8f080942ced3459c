"""A set of namespaces that lives and dies with one process, and with the lab's own."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from asyncio.subprocess import Process as Child
from pathlib import Path

from tests.lab.errors import LabError

# The death signal makes a crashed or killed test take its hosts along: unshare dies with this process,
# the first process of the pid namespace with unshare, and the kernel kills the rest with that.
_UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", "--fork", "--pid", "--mount-proc")


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children; none when it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Namespaces:
    """New pid, mount, network, uts and ipc namespaces, kept by the process `pid`."""

    def __init__(self, child: Child, pid: int) -> None:
        self.pid = pid
        self._child = child

    @classmethod
    async def make(cls, *boot: str) -> "Namespaces":
        """Start boot as the first process of new namespaces; it prints a line when it is up, and stays."""
        child = await asyncio.create_subprocess_exec(
            *_UNSHARE, "--mount", "--net", "--uts", "--ipc", *boot, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        assert child.stdout is not None
        assert child.stderr is not None
        if not await child.stdout.readline():
            said = (await child.stderr.read()).decode(errors="replace")
            await child.wait()
            raise LabError(f"{' '.join(boot)}: no namespaces (is this root?): {said}")
        return cls(child, children_of(child.pid)[0])

    @property
    def net(self) -> str:
        """The network namespace, as `nsenter --net=PATH ip …` takes it."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs another one inside."""
        return ("nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-i", "-p", "-C")

    async def end(self) -> int:
        """Wait until the first process has ended, as it does when a machine powers itself off."""
        return await self._child.wait()

    async def destroy(self) -> None:
        """Kill every process inside, at once and without asking, as a power failure does."""
        if self._child.returncode is None:
            self._child.kill()
        await self._child.communicate()
