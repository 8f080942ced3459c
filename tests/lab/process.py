"""Programs that the lab starts: short ones that are awaited, long ones with a log file and a signal."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from asyncio.subprocess import DEVNULL, PIPE
from asyncio.subprocess import Process as Child
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import CommandError, LabError
from tests.lab.namespaces import children_of


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


async def run(
    *argv: str,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,  # noqa: A002  # subprocess.run's own name for it
    timeout: float = 60,  # as in subprocess.run
    enter: Sequence[str] = (),
    where: str = "this machine",
) -> Result:
    """Run argv and return its result; raise CommandError when check and it failed, or after timeout seconds.

    enter: the command that brings argv to where it is to run, left out of results and messages.
    """
    data = input.encode() if isinstance(input, str) else input
    child = await asyncio.create_subprocess_exec(
        *enter, *argv, stdin=DEVNULL if data is None else PIPE, stdout=PIPE, stderr=PIPE, env=env
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(data), timeout)
    except TimeoutError:
        raise CommandError(argv, where, f"not done after {timeout:g} s", "") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    code = child.returncode if child.returncode is not None else -1
    result = Result(tuple(argv), code, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and code:
        raise CommandError(argv, where, f"exit code {code}", result.stdout + result.stderr)
    return result


async def all_at_once(jobs: Iterable[Coroutine[None, None, object]]) -> None:
    """Await all jobs together; the first failure cancels the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


class Process:
    """A long-running program on a host. Its output goes to `log`; signals reach the program itself."""

    def __init__(self, argv: Sequence[str], child: Child, pid: int, log: Path) -> None:
        self.argv = tuple(argv)
        self.log = log
        self.pid = pid  # as this machine numbers it, not as the host does
        self._child = child

    @classmethod
    async def start(cls, argv: Sequence[str], enter: Sequence[str], env: Mapping[str, str], log: Path) -> "Process":
        """Start argv behind the entering command `enter` (nsenter, which forks once to enter a pid namespace)."""
        with log.open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *enter, *argv, stdin=DEVNULL, stdout=sink, stderr=sink, env=env, start_new_session=True
            )
        return cls(argv, child, await _only_child_of(child), log)

    @property
    def returncode(self) -> int | None:
        return self._child.returncode

    @property
    def running(self) -> bool:
        return self._child.returncode is None

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send the signal to the program (not to its children); nothing happens when it has ended."""
        if not self.running:
            return
        try:
            os.kill(self.pid, sig)
            if sig == signal.SIGCONT:
                os.kill(self._child.pid, sig)  # nsenter stops with the program that it waits for
        except ProcessLookupError:
            return  # it ended just now; wait() tells how

    async def reap(self) -> None:
        """Wait for the end of a program that is dead, or was killed while it was stopped."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                # nsenter stopped with it, and would not see its end. Popen's own way would take the exit code away.
                os.kill(self._child.pid, signal.SIGCONT)
        await self.wait()

    async def wait(self, timeout: float = 30) -> int:
        """Wait for the end and return the exit code (negative: the signal's number)."""
        try:
            return await asyncio.wait_for(self._child.wait(), timeout)
        except TimeoutError:
            raise LabError(f"{self.argv[0]} (pid {self.pid}) still runs after {timeout:g} s\n{self.tail()}") from None

    async def stop(self, sig: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Send the signal and wait for the end."""
        self.kill(sig)
        return await self.wait(timeout)

    async def logged(self, text: str, timeout: float = 10) -> None:
        """Return when the log contains the text; LabError when the program ends without, or after timeout seconds."""
        until = time.monotonic() + timeout
        while text not in self.output():
            if not self.running or time.monotonic() > until:
                raise LabError(f"{self.argv[0]} has not said {text!r}\n{self.tail()}")
            await asyncio.sleep(0.01)  # a file tells nobody that it grew

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 30) -> str:
        """The last lines of the log, for messages."""
        return "\n".join(self.output().splitlines()[-lines:])


async def _only_child_of(parent: Child, patience: float = 5) -> int:
    """Return the pid of the parent's one child; the parent's own when it ended before it had one.

    The kernel tells nobody outside when a process forks, so this looks again every few milliseconds.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until and parent.returncode is None:
        if pids := children_of(parent.pid):
            return pids[0]
        await asyncio.sleep(0.002)
    return parent.pid


class Readiness:
    """A socket for the READY=1 datagram of programs that speak systemd's notify protocol (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    async def wait(self, end: Awaitable[int], timeout: float) -> None:
        """Return when the program says that it is ready; LabError when it ends first or takes longer."""
        ready = asyncio.ensure_future(self._ready())
        ended = asyncio.ensure_future(end)
        try:
            await asyncio.wait({ready, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise LabError(f"ended with {ended.result()}" if ended.done() else f"not ready after {timeout:g} s")
        finally:
            for waiter in (ready, ended):
                waiter.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        while b"READY=1" not in await loop.sock_recv(self._socket, 4096):
            pass

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)
