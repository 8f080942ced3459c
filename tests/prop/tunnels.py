"""Two hosts of an encrypted network while its keys change: real plans and loops over a kernel and tools that are not.

What a busy machine does to them is drawn: how long a tool, a look at the kernel and a message take, which of them fail,
and which handshakes are lost. The manager's part is its own rule for keys.
"""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from common.clock import LoopClock
from common.errors import Unavailable
from common.model import Cluster, Network, Node, StoredObject
from common.model.container import DriverConfig
from common.model.node import NodeStatus
from common.wire.messages import Peer
from manager.allocate.tunnel_keys import keep_keys, rotate
from manager.store.tables import Tables
from tests.fakes.engine import FakeEngine
from tests.unit.worker.net.worlds import RED, network, world
from worker.host import command
from worker.intake.network import NetworkIntake
from worker.net.apply import wireguard
from worker.net.apply.host import Host
from worker.net.apply.netlink import Seen
from worker.net.dns.service import ClusterDns
from worker.net.ipam import TaskAddresses
from worker.net.plan.kernel import Item, Route, Tunnel
from worker.net.reconciler import HostSurvey, NetworkReconciler
from worker.net.watch.capabilities import Encryption
from worker.net.watch.changes import HostChange

# WireGuard sends a first message again after this time.
HANDSHAKE_AGAIN_SECONDS = 5.0
NODES = ("node1", "node2")

_here: ContextVar[SimulatedHost] = ContextVar("_here")


@dataclass(frozen=True, slots=True)
class Trouble:
    """How a busy machine behaves: seconds that things take at most, and the part of them that fail or get lost."""

    tool: float = 0.6
    look: float = 0.4
    message: float = 2.0
    fails: float = 0.0
    lost: float = 0.2


@dataclass
class Link:
    """`peers`: a key → its part of the network, as `wg` writes it; `answered`: with which there was a handshake."""

    public: bytes = b""
    port: int = 0
    up: bool = False
    peers: dict[bytes, str] = field(default_factory=dict)
    answered: set[bytes] = field(default_factory=set)

    def dump(self) -> str:
        lines = [f"-\t{_text(self.public)}\t{self.port}\toff"]
        for key, ranges in self.peers.items():
            lines.append(f"{_text(key)}\t-\t-\t{ranges}\t{int(key in self.answered)}\t0\t0\t25")
        return "\n".join(lines)


class SimulatedKernel:
    """The links and routes of one host, in place of `worker.net.apply.netlink.Kernel`."""

    def __init__(self, rng: random.Random, trouble: Trouble, address: str) -> None:
        self.links: dict[str, Link] = {}
        self.items: frozenset[Item] = frozenset()
        self._tunnel: Tunnel | None = None
        self._rng, self._trouble, self._address = rng, trouble, address

    async def look(self) -> Seen:
        links = {name: number for number, name in enumerate(self.links, 1)}
        down = frozenset(name for name, link in self.links.items() if not link.up)
        seen = Seen(links, down, tunnel=self._tunnel, items=self.items, addresses={self._address: 1500})
        await asyncio.sleep(self._rng.uniform(0, self._trouble.look))
        return seen

    async def apply(self, tunnel: Tunnel | None, items: Collection[Item], _: Seen) -> tuple[str, ...]:
        self._tunnel = tunnel
        there = {item for item in items if not item.link.startswith("orc-wg") or item.link in self.links}
        self.items = frozenset(there)
        if len(there) < len(items):
            raise Unavailable("a link is not there")
        return ()

    def ways(self) -> set[str]:
        """Name the links that lead to other hosts' parts of encrypted networks."""
        return {item.link for item in self.items if isinstance(item, Route) and item.link.startswith("orc-wg")}


class BareHost(Host):
    """A host that has links and routes, and neither Docker nor rules."""

    async def _make_networks(self, _: object) -> None: ...

    async def _raise_bridges(self, *_: object, **__: object) -> None: ...

    async def _accept_in_docker(self, _: object) -> None: ...

    def _set_sysctls(self, *_: object, **__: object) -> None: ...


class NoTables:
    """In place of the tables of rules."""

    def links_lost(self) -> None: ...

    async def apply(self, *_: object) -> None: ...

    async def apply_way_back(self, _: object) -> None: ...


class SimulatedHost:
    def __init__(self, name: str, number: int, folder: Path, rng: random.Random, trouble: Trouble) -> None:
        self.name, self.number, self.rng, self.trouble = name, number, rng, trouble
        self.address = f"192.168.7.{number}"
        self.kernel = SimulatedKernel(rng, trouble, self.address)
        self.links = self.kernel.links
        engine = FakeEngine()
        self._intake = NetworkIntake(name)
        dns = ClusterDns(folder / f"{name}-resolv", rng)
        addresses = TaskAddresses(LoopClock())
        survey = HostSurvey(name, self.address, Encryption(wireguard.USERSPACE))
        self.reconciler = NetworkReconciler(engine, survey, addresses, dns, folder / name)
        self.host = BareHost(engine, name, self.kernel, folder / name, wireguard.USERSPACE)  # type: ignore[arg-type]
        self.host.tables = NoTables()  # type: ignore[assignment]
        self._changed = self.reconciler._links_changed(self.host)
        self._events: list[asyncio.TimerHandle] = []

    def tasks(self) -> tuple[Coroutine[Any, Any, None], ...]:
        reconciler = self.reconciler
        reconciler._check_firewall = lambda: None  # type: ignore[method-assign]
        reconciler.conntrack.check = lambda: None  # type: ignore[method-assign]
        return reconciler._keep(self.host, self.kernel), reconciler._check(self.host)  # type: ignore[arg-type]

    def take(self, sent: dict[str, Any]) -> None:
        """Take in an assignment set."""
        self.reconciler.world = world(intake=self._intake, node_number=self.number, **sent)
        self.reconciler.passes.note()

    # --- what the tools do --------------------------------------------------------------------------------------------

    def event(self, text: str, *, gone: bool = False) -> None:
        """Have the watch of links tell of a change, when it comes to it."""
        loop = asyncio.get_running_loop()
        change = HostChange(text, gone=gone)
        loop.call_later(self.rng.uniform(0, self.trouble.look), self._changed, change)

    async def spend(self, what: str) -> None:
        await asyncio.sleep(self.rng.uniform(0, self.trouble.tool))
        if self.rng.random() < self.trouble.fails:
            raise Unavailable(f"{what}: device or resource busy")

    def make(self, name: str) -> None:
        if name in self.links:
            raise Unavailable(f"{name}: it is there")
        self.links[name] = Link()
        self.event(f"link {name} is new")

    def remove(self, name: str) -> None:
        if self.links.pop(name, None) is not None:
            self.kernel.items = frozenset(item for item in self.kernel.items if item.link != name)
            self.event(f"link {name} was deleted", gone=True)

    def configure(self, name: str, config: str) -> None:
        link = self.links[name]
        link.peers, key = {}, b""
        for line in config.splitlines():
            word, _, value = line.partition(" = ")
            match word:
                case "PrivateKey":
                    link.public = public_of(b64decode(value))
                case "ListenPort":
                    link.port = int(value)
                case "PublicKey":
                    key = b64decode(value)
                case "AllowedIPs":
                    link.peers[key] = value.replace(", ", ",")
        link.answered &= link.peers.keys()


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _text(key: bytes) -> str:
    return b64encode(key).decode()


# --- tools of the host whose task it is -------------------------------------------------------------------------------


async def _run(*argv: str, **_: object) -> command.Output:
    assert argv[:2] == ("wg", "show")
    host, name = _here.get(), argv[2]
    before = host.rng.random()  # when it reads, of the time that it takes
    whole = host.rng.uniform(0, host.trouble.tool)
    await asyncio.sleep(whole * before)
    link = host.links.get(name)
    found = command.Output(0, link.dump(), "") if link is not None else command.Output(1, "", "No such device")
    await asyncio.sleep(whole * (1 - before))
    return found


async def _must(*argv: str, stdin: str = "", **_: object) -> str:
    host = _here.get()
    await host.spend(argv[0])
    if argv[0] == wireguard.USERSPACE:
        host.make(argv[1])
    elif argv[2] not in host.links:
        raise Unavailable(f"Unable to modify interface {argv[2]}: No such device")
    else:
        host.configure(argv[2], stdin)
    return ""


async def _set_up(name: str, _mtu: int, _address: str) -> None:
    host = _here.get()
    await host.spend(f"set up {name}")
    if name not in host.links:
        raise Unavailable(f"set up {name}: No such device")
    host.links[name].up = True


async def _delete(name: str) -> None:
    host = _here.get()
    await host.spend(f"delete {name}")
    host.remove(name)


class Tunnels:
    """The two hosts and their manager; see the module."""

    def __init__(self, folder: Path, seed: int, trouble: Trouble) -> None:
        self.rng = random.Random(seed)
        self.trouble = trouble
        self.hosts = [SimulatedHost(name, i, folder, self.rng, trouble) for i, name in enumerate(NODES, 1)]
        self._view = Tables()
        self._due: list[asyncio.Queue[dict[str, Any]]] = []
        driver = DriverConfig(name="overlay", options={"encrypted": ""})
        self._network: Network = network(RED, "10.2.0.0/16", driver=driver)
        nodes = [Node(id=name, agent=True, status=NodeStatus(state="ready")) for name in NODES]
        leases = {name: self._network.leases[name] for name in NODES}
        self._network = msgspec.structs.replace(self._network, leases=leases)
        start: list[StoredObject] = [Cluster(id="c"), self._network, *nodes]
        for value in start:
            self._view.of(type(value)).put(value)

    @property
    def generation(self) -> int:
        return self._view.cluster.tunnel_generation

    @property
    def link(self) -> str:
        """The link of the newest keys."""
        return f"orc-wg{self.generation % 2}"

    def rotate(self) -> None:
        """Do what the API does; the keys are made in a transaction of their own."""
        self._view.of(Cluster).put(rotate(self._view, asyncio.get_running_loop().time()))

    def keep_keys(self) -> None:
        """Do what the loop of the manager does, and tell the hosts."""
        found = keep_keys(self._view, asyncio.get_running_loop().time(), self.rng)
        for value in found.put:
            self._view.of(type(value)).put(value)
        if found.put:
            for queue, host in zip(self._due, self.hosts, strict=True):
                queue.put_nowait(self._sent(host.name))

    def _sent(self, own: str) -> dict[str, Any]:
        peers = {}
        for number, node in enumerate(sorted(self._view.nodes, key=lambda each: each.id), 1):
            if node.id != own:
                keys = {key.generation: key.public for key in node.tunnel_keys}
                peers[node.id] = Peer(node_id=node.id, number=number, addr=f"192.168.7.{number}", keys=keys)
        me = self._view.nodes.get(own)
        assert me is not None
        return {"networks": (self._network,), "peers": peers, "tunnel_keys": me.tunnel_keys}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def _feed(self, host: SimulatedHost, queue: asyncio.Queue[dict[str, Any]]) -> None:
        while True:
            sent = await queue.get()
            await asyncio.sleep(self.rng.uniform(0, self.trouble.message))
            host.take(sent)

    async def _manage(self) -> None:
        while True:
            self.keep_keys()
            await asyncio.sleep(1.0)

    async def _shake(self, here: SimulatedHost, there: SimulatedHost) -> None:
        """Try, for each link that is new, a handshake at once and then every few seconds."""
        tried: dict[tuple[int, bytes], float] = {}
        while True:
            now = asyncio.get_running_loop().time()
            for name, link in list(here.links.items()):
                for key in link.peers if link.up else ():
                    again = tried.get((id(link), key), -HANDSHAKE_AGAIN_SECONDS) + HANDSHAKE_AGAIN_SECONDS
                    if key not in link.answered and now >= again:
                        tried[id(link), key] = now
                        await self._handshake(link, there.links.get(name), key)
            await asyncio.sleep(0.01)

    async def _handshake(self, link: Link, other: Link | None, key: bytes) -> None:
        await asyncio.sleep(self.rng.uniform(0, 0.05))
        fits = other is not None and other.up and other.public == key and link.public in other.peers
        if not fits or self.rng.random() < self.trouble.lost:
            return
        assert other is not None
        link.answered |= {key} & link.peers.keys()
        await asyncio.sleep(self.rng.uniform(0, 0.05))
        other.answered |= {link.public} & other.peers.keys()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._due = [asyncio.Queue() for _ in self.hosts]
        tasks = [asyncio.create_task(self._manage())]
        for host, queue, other in zip(self.hosts, self._due, reversed(self.hosts), strict=True):
            _here.set(host)
            tasks += [asyncio.create_task(each) for each in host.tasks()]
            tasks += [asyncio.create_task(self._feed(host, queue)), asyncio.create_task(self._shake(host, other))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for each in ended:
                if isinstance(each, Exception):
                    raise each

    async def until(self, what: Callable[[], bool], within: float) -> float:
        """Wait; return how long it took.

        Raises:
            AssertionError: it has not come about; with what both hosts have.

        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not what():
            assert loop.time() < begun + within, self.told()
            await asyncio.sleep(0.1)
        return loop.time() - begun

    def ways(self) -> list[set[str]]:
        return [host.kernel.ways() for host in self.hosts]

    def told(self) -> str:
        """Say how things are, for whoever reads of a failure."""
        lines = [f"generation {self.generation}: {self.link}"]
        for host in self.hosts:
            links = {name: (link.up, len(link.peers), len(link.answered)) for name, link in host.links.items()}
            known = len(host.reconciler.survey.facts.answered)
            lines.append(f"{host.name}: ways {host.kernel.ways()}, links (up, peers, answered) {links}, known {known}")
            lines.append(f"  trouble: {host.reconciler.trouble!r}")
        return "\n".join(lines)


def simulate_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the worker's tools act on the host whose task calls them."""
    monkeypatch.setattr(command, "run", _run)
    monkeypatch.setattr(command, "must", _must)
    monkeypatch.setattr(wireguard, "set_up", _set_up)
    monkeypatch.setattr(wireguard, "delete", _delete)
    monkeypatch.setattr(wireguard, "_exists", lambda _: False)
