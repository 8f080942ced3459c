"""etcd as a child of its manager: started with it, restarted when it ends by itself, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from common.aio.steady import Backoff
from common.errors import Unavailable
from manager.store.backends.etcd.client import EtcdClient, lines
from manager.store.backends.etcd.members import Members

# The one name in every member's certificate: a worker's, of the same authority, does not have it.
PEER_NAME = "swarm-etcd"

_HEARTBEAT_MILLISECONDS = 100
_ELECTION_MILLISECONDS = 500
_QUOTA_BYTES = 8 << 30
_TRANSACTION_OPERATIONS = 20_000
_REQUEST_BYTES = 32 << 20
_STOP_SECONDS = 5.0
_RESTART_FIRST_SECONDS, _RESTART_LAST_SECONDS = 0.2, 5.0
# After so long it has started well, and is restarted at once when it ends.
_WELL_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.05
_CHUNK_BYTES = 1 << 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerFiles:
    """The PEM files that members know each other by: certificate and key of `PEER_NAME`, and the authority's root."""

    certificate: Path
    key: Path
    root: Path


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """One member and its surroundings.

    `directory` has its data and its socket. `listen_url` and `peer_url` are where it listens to the other members, and
    where they reach it: `https://`, or without `files`, for tests, `http://`. `cluster` are the members at its first
    start, their peers' URLs by name, itself among them; `joins` says that the others run already. `forced` makes it the
    only member, of what it has.
    """

    name: str
    directory: Path
    listen_url: str
    peer_url: str
    cluster: Mapping[str, str]
    cluster_id: str
    files: PeerFiles | None = None
    joins: bool = False
    forced: bool = False

    @property
    def socket(self) -> Path:
        return self.directory / "etcd.sock"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def command(self) -> list[str]:
        """Return the command line. It ends with its parent, and its manager is its only client."""
        options = {
            "name": self.name,
            "data-dir": str(self.data),
            "listen-client-urls": f"unix://{quote(str(self.socket))}",
            # Needed, and dialled by nobody: the manager's client has the socket.
            "advertise-client-urls": "http://127.0.0.1:9",
            "listen-peer-urls": self.listen_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": ",".join(f"{name}={url}" for name, url in self.cluster.items()),
            "initial-cluster-state": "existing" if self.joins else "new",
            "initial-cluster-token": self.cluster_id,
            "heartbeat-interval": str(_HEARTBEAT_MILLISECONDS),
            "election-timeout": str(_ELECTION_MILLISECONDS),
            "max-txn-ops": str(_TRANSACTION_OPERATIONS),
            "max-request-bytes": str(_REQUEST_BYTES),
            "quota-backend-bytes": str(_QUOTA_BYTES),
            "snapshot-count": "10000",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "5m",
            "log-level": "warn",
            "log-outputs": "stderr",
        }
        if self.files is not None:
            options |= {
                "peer-cert-file": str(self.files.certificate),
                "peer-key-file": str(self.files.key),
                "peer-trusted-ca-file": str(self.files.root),
                "peer-cert-allowed-hostname": PEER_NAME,
            }
        flags = ["experimental-initial-corrupt-check", "experimental-compact-hash-check-enabled"]
        flags += ["peer-client-cert-auth"] if self.files is not None else []
        flags += ["force-new-cluster"] if self.forced else []
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return ["setpriv", "--pdeathsig", "TERM", "etcd", *arguments, *(f"--{flag}=true" for flag in flags)]


class RemovedMember(Unavailable):
    """The other members have removed this one, for good: it must not be started again."""


class EtcdProcess:
    """Keeps one member running. `run` it beside what uses it; `client` asks it. `pid` is there while it runs."""

    def __init__(self, member: EtcdMember, rng: random.Random) -> None:
        self._member = member
        self.pid: int | None = None
        self._removed = False
        self._restarts = False
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff(_RESTART_FIRST_SECONDS, _RESTART_LAST_SECONDS, rng)

    @property
    def has_run(self) -> bool:
        return self._member.data.exists()

    def client(self) -> EtcdClient:
        """Return a new client of this member, for the caller to close."""
        return EtcdClient(self._member.socket)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it while the context lasts; an error of `run` ends the context."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.run(), name="etcd")
            yield
            task.cancel()

    async def run(self) -> None:
        """Run it until cancelled, and restart it when it ends by itself.

        Raises:
            RemovedMember: it is no longer a member.
            Unavailable: etcd is not installed, or its directory cannot be made.

        """
        if missing := [name for name in ("setpriv", "etcd") if shutil.which(name) is None]:
            raise Unavailable(f"{missing[0]} is not installed: on Debian it is in the package {_PACKAGES[missing[0]]}")
        try:
            self._member.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make {self._member.directory}: {error.strerror}") from error
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._run_once()
            if self._removed:
                raise RemovedMember("this manager's etcd was removed from the cluster by the others")
            if loop.time() - began > _WELL_SECONDS or self._restarts:
                self._backoff.reset()
            if self._restarts:
                self._restarts = False
                continue
            delay = self._backoff.next()
            _log.error("etcd has ended with code %d: starting it again in %.1f s", code, delay)
            await asyncio.sleep(delay)

    async def restart(self) -> None:
        """End it, and return when that is done: it is started again at once."""
        process = self._process
        if process is not None:
            self._restarts = True
            await _stop(process)

    async def ready(self, seconds: float) -> None:
        """Wait until the member answers.

        Raises:
            Unavailable: it does not for so long.

        """
        client = self.client()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(Unavailable):
                        if (await Members(client).status()).leader_id:
                            return
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except TimeoutError:
            raise Unavailable(
                f"etcd on this host has not found a leader within {seconds:g} s: is a majority of its members up, and "
                f"can they reach {self._member.peer_url}? See the manager's log"
            ) from None
        finally:
            await client.close()

    async def _run_once(self) -> int:
        """Start it, pass its words on, and return with which code it ended; end it when cancelled."""
        self._member.socket.unlink(missing_ok=True)
        # etcd, too, tells systemd that it is ready; whether its manager is, is that one's to say.
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        process = await asyncio.create_subprocess_exec(
            *self._member.command(),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert process.stderr is not None
        self.pid, self._process = process.pid, process
        try:
            async with contextlib.aclosing(lines(_chunks(process.stderr))) as said:
                async for line in said:
                    self._removed = self._removed or _REMOVED in line
                    _pass_on(line)
            return await process.wait()
        finally:
            self.pid = self._process = None
            await _stop(process)


_PACKAGES = {"setpriv": "util-linux", "etcd": "etcd-server"}


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await stream.read(_CHUNK_BYTES):
        yield chunk


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a process that runs; it hands its own leadership on, if it has the time."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


# What etcd says of the way in which it is started here, each time.
_EXPECTED = (
    "Running http and grpc server on single port",
    "exceeded recommended request limit",
    "simple token is not cryptographically signed",
)
_REMOVED = b"the member has been permanently removed from the cluster"
_LEVELS = {"warn": logging.WARNING, "error": logging.ERROR, "panic": logging.CRITICAL, "fatal": logging.CRITICAL}


def _pass_on(line: bytes) -> None:
    """Log a line of etcd's: JSON, or words when it is not up yet."""
    try:
        said = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.MsgspecError:
        _log.warning("etcd: %s", line.decode(errors="replace").rstrip())
        return
    level = _LEVELS.get(str(said.pop("level", "")), logging.INFO)
    words = str(said.pop("msg", ""))
    if words.startswith(_EXPECTED):
        return
    details = " ".join(f"{key}={value}" for key, value in said.items() if key not in {"ts", "caller", "stacktrace"})
    _log.log(level, "etcd: %s %s", words, details)
