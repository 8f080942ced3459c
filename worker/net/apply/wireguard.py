"""Bring WireGuard links to what the plan says: the kernel's where it has them, else wireguard-go's.

Both are configured by the command `wg`, which gets keys on its standard input. A wireguard-go process lives as long as
its link: it is no child of the agent, goes on when that is restarted, and ends when the link is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from common.errors import Unavailable
from worker.host import command
from worker.net.plan.encrypted import WireGuardLink
from worker.net.plan.names import WIREGUARD_LINKS

KERNEL = "wireguard"
USERSPACE = "wireguard-go"
SOCKETS = Path("/var/run/wireguard")
# `wg` waits for the link's process. On a busy machine that may be late, and making the link anew would cut off what it
# carries; so a link is given up only when it was silent for so many looks in a row.
PATIENCE_SECONDS = 1.0
SILENT_LOOKS = 3
# A new link's process has more to do.
FIRST_PATIENCE_SECONDS = 5.0
_LOOKS = 50
_LOOK_AGAIN_SECONDS = 0.02

_log = logging.getLogger(__name__)

DUMP_SECONDS = 10.0
_NO_SUCH_DEVICE = 19


@dataclass(frozen=True, slots=True)
class State:
    """A link as it is. `peers`: public key → the addresses behind it; `answered`: those that a handshake was with."""

    public: bytes
    port: int
    peers: Mapping[bytes, tuple[str, ...]]
    answered: frozenset[bytes]

    def is_like(self, link: WireGuardLink) -> bool:
        """Whether it is as planned; a peer's present address is its own to change."""
        wanted = {peer.public: peer.ranges for peer in link.peers}
        return (self.public, self.port, self.peers) == (link.public, link.port, wanted)


class WireGuard:
    """Makes, configures and removes the links.

    kind: KERNEL or USERSPACE, or empty on a host that has neither.
    prepare: called for each new link, before anything can come over it.
    wanted: what was applied last.
    """

    def __init__(self, kind: str, prepare: Callable[[], None]) -> None:
        self.kind = kind
        self._prepare = prepare
        self.wanted: Mapping[str, WireGuardLink] = {}
        self._states: dict[str, State] = {}
        self._surveyed: Mapping[str, State] = {}
        self._silent: Counter[str] = Counter()

    @property
    def answered(self) -> frozenset[bytes]:
        """The keys of the peers that there was a handshake with, over the link that the key belongs to.

        As of the last `survey`: it is what plans are made from.
        """
        return frozenset().union(*(state.answered for state in self._surveyed.values()))

    async def survey(self, names: Collection[str]) -> None:
        """Read the links that are there, for a plan to be made from them."""
        await self.look(names)
        self._surveyed = dict(self._states)

    async def changed(self) -> bool:
        """Look at the links; return whether they are not what they were in the last survey.

        Whatever has looked meanwhile: what a plan does not know is news until it does.
        """
        await self.look(self.wanted.keys())
        return self._states != self._surveyed

    async def look(self, names: Collection[str]) -> None:
        """Read the links that are there, for `apply`."""
        there = [name for name in WIREGUARD_LINKS if name in names]
        found = [(name, await self._state(name)) for name in there]
        self._states = {name: state for name, state in found if state is not None}

    async def _state(self, name: str) -> State | None:
        """Read a link; one that is late, or cannot be asked, is what it was, and None when it is given up."""
        try:
            state = await _read(name, PATIENCE_SECONDS)
        except (TimeoutError, Unavailable):
            self._silent[name] += 1
            return self._states.get(name) if self._silent[name] < SILENT_LOOKS else None
        del self._silent[name]
        return state

    async def apply(
        self, wanted: Mapping[str, WireGuardLink], there: Collection[str], down: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Make the host have exactly these links; return what was done, in words.

        `there` and `down`: names of the host's links, as they were when `look` read ours.

        Raises:
            Unavailable: a link cannot be made or configured; it is tried again with the next call.

        """
        done = []
        for name in WIREGUARD_LINKS:
            # A link without a state is of no use: its process may hang.
            if name in there and (name not in wanted or name not in self._states):
                await self._remove(name)
                done.append(f"link {name} removed")
        for link in wanted.values():
            state = self._states.get(link.name)
            if state is None or link.name in down or not state.is_like(link) or self.wanted.get(link.name) != link:
                await self._bring(link)
                done.append(f"link {link.name} {'made' if state is None else 'configured'}")
        self.wanted = dict(wanted)
        return tuple(done)

    async def _bring(self, link: WireGuardLink) -> None:
        if link.name not in self._states:
            await self._make(link.name)
            self._prepare()
        await command.must("wg", "syncconf", link.name, "/dev/stdin", stdin=link.config())
        await set_up(link.name, link.mtu, link.address)
        try:
            state = await _read(link.name, FIRST_PATIENCE_SECONDS)
        except (TimeoutError, Unavailable):
            state = None
        if state is None:
            raise Unavailable(f"the link {link.name} of encrypted networks does not answer: check {self.kind}")
        self._states[link.name] = state

    async def _make(self, name: str) -> None:
        if self.kind == KERNEL:
            await add(name, KERNEL)
        elif self.kind == USERSPACE:
            # It starts itself anew in the background and ends; in a session of its own it is not this terminal's.
            await command.must(USERSPACE, name, own_session=True)
        else:
            raise Unavailable("this host cannot encrypt: see 'node inspect', Description.Lacks")

    async def _remove(self, name: str) -> None:
        """Delete a link; its process hears of it, ends, and takes its socket along."""
        self._states.pop(name, None)
        del self._silent[name]
        await delete(name)
        socket = SOCKETS / f"{name}.sock"
        for _ in range(_LOOKS):
            if not _exists(socket):
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        for process in _processes(name):
            _log.warning("killed process %d of %s: it did not end with its link %s", process, USERSPACE, name)
            os.kill(process, signal.SIGKILL)
        socket.unlink(missing_ok=True)


async def _read(name: str, patience: float) -> State | None:
    """Ask a link for its state; None when nobody is there to answer.

    Raises:
        TimeoutError: there is no answer within `patience` seconds.
        Unavailable: the question cannot be asked, as on a host that can start no more processes.

    """
    async with asyncio.timeout(patience):
        output = await command.run("wg", "show", name, "dump")
    return parse(output.text) if output.code == 0 else None


def _exists(path: Path) -> bool:
    return path.exists()


def _processes(name: str, proc: Path = Path("/proc")) -> list[int]:
    """Find the wireguard-go processes of a link, in this host's network alone."""
    here = (proc / "self/ns/net").stat().st_ino
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            program, *arguments = (folder / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
            if Path(program).name == USERSPACE and arguments == [name] and (folder / "ns/net").stat().st_ino == here:
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found


def parse(dump: str) -> State | None:
    """Read `wg show LINK dump`: a line for the link, and one for each peer."""
    first, *rest = dump.splitlines() or [""]
    fields = first.split("\t")
    if len(fields) < 3:
        return None
    peers, answered = {}, set()
    for line in rest:
        public, _, _, ranges, handshake, *_ = line.split("\t")
        key = b64decode(public)
        peers[key] = tuple(sorted(ranges.split(","))) if ranges != "(none)" else ()
        if handshake != "0":
            answered.add(key)
    return State(_key(fields[1]), int(fields[2]), peers, frozenset(answered))


def _key(text: str) -> bytes:
    return b64decode(text) if text != "(none)" else b""


# --- single links; what the plan has beside them is the business of worker.net.apply.netlink ---


async def add(name: str, kind: str) -> None:
    """Make a link.

    Raises:
        Unavailable: the kernel refuses.

    """
    async with _kernel(f"make link {name} of kind {kind}") as route:
        await route.link("add", ifname=name, kind=kind)


async def set_up(name: str, mtu: int, address: str) -> None:
    """Set a link up, with this MTU and an address (CIDR); errors as `add`."""
    host, _, length = address.partition("/")
    async with _kernel(f"set up link {name}") as route:
        (index,) = await route.link_lookup(ifname=name)
        await route.addr("replace", index=index, address=host, prefixlen=int(length))
        await route.link("set", index=index, mtu=mtu, state="up")


async def delete(name: str) -> None:
    """Delete a link; one that is not there is no error. Errors as `add`."""
    async with _kernel(f"delete link {name}") as route:
        for index in await route.link_lookup(ifname=name):
            try:
                await route.link("del", index=index)
            except NetlinkError as error:
                if error.code != _NO_SUCH_DEVICE:
                    raise


@asynccontextmanager
async def _kernel(what: str) -> AsyncIterator[AsyncIPRoute]:
    try:
        async with asyncio.timeout(DUMP_SECONDS), AsyncIPRoute() as route:
            yield route
    except (NetlinkError, OSError, ValueError) as error:
        raise Unavailable(f"cannot {what}: {error}") from error
