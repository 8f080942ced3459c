"""A testbed for attacks: a cluster on hosts of the lab, which evil nodes dial from a host that has no worker."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import itertools
import json
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from common.tls import unverified_context
from common.wire.messages import DEFAULT_PORT
from tests.e2e.cluster import Cluster
from tests.hostile.evil_worker import EvilWorker, join
from tests.hostile.lines import Line, TlsLine
from tests.lab import Host

# Evil nodes' addresses: how far from their host's, and how many.
_FIRST, _ADDRESSES = 40, 8
_CLONE_NEWNET = 0x40000000
_OWN_NETWORK = Path("/proc/thread-self/ns/net")


class LabTestbed:
    """`host` is where evil nodes are, on several addresses: so many joins of one address would have to wait."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self._cluster = cluster
        self._host = host
        self._ids: dict[str, str] = {}
        first = ipaddress.IPv4Address(host.ip) + _FIRST
        self._addresses = [str(first + number) for number in range(_ADDRESSES)]
        self._sources = itertools.cycle(self._addresses)

    async def prepare_host(self) -> None:
        for address in self._addresses:
            await self._host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")

    def now(self) -> float:
        return time.time()

    async def join(self, name: str) -> EvilWorker:
        await self.remove_all()
        reply, key = await join(self.stranger, self._cluster.token, name)
        self._ids[name] = reply.node_id
        file = self._cluster.lab.workdir / f"{name}.pem"
        file.write_bytes(reply.certificate + key)
        return EvilWorker(partial(self._dial, _context(file)), time.time)

    async def stranger(self) -> Line:
        return await self._dial(_context())

    async def node_id(self, name: str) -> str:
        node_id = self._ids[name]
        return node_id if await self._cluster.get(f"/nodes?filters={_filter(id=node_id)}") else ""

    async def others(self, name: str) -> Mapping[str, Sequence[str]]:
        nodes, tasks = await self._cluster.get("/nodes"), await self._cluster.get("/tasks")
        networks, services = await self._cluster.get("/networks"), await self._cluster.get("/services")
        own = self._ids[name]
        ends = [end for task in tasks if task.get("NodeID") != own for end in task.get("NetworksAttachments") or ()]
        return {
            "taskid": [task["ID"] for task in tasks if task.get("NodeID") != own] or ["none"],
            "nodeid": [node["ID"] for node in nodes if node["ID"] != own],
            "networkid": [network["Id"] for network in networks],
            "serviceid": [service["ID"] for service in services],
            "hostname": [host.name for host in self._cluster.hosts],
            "addresses{value}": [a.partition("/")[0] for end in ends for a in end["Addresses"]] or ["10.0.0.1"],
            "advertiseaddr": [host.ip for host in self._cluster.hosts],
            "ipv6addresses": [host.ip6 for host in self._cluster.hosts],
            "reference": ["web:lab", "busybox:lab"],
        }

    async def prepare(self, name: str) -> None:
        """Do nothing: what evil nodes have is what they were assigned."""

    def forgive(self) -> None:
        """Do nothing: a manager that was offended keeps a node out, and another one joins."""

    async def remove_all(self) -> None:
        """Remove the evil nodes, as an operator would."""
        for name in list(self._ids):
            if await self.node_id(name):
                await self._cluster.request("DELETE", f"/nodes/{self._ids[name]}?force=true")
            del self._ids[name]

    async def _dial(self, context: ssl.SSLContext) -> TlsLine:
        sock = _socket_in(self._host.netns)
        try:
            sock.setblocking(False)
            sock.bind((next(self._sources), 0))
            await asyncio.get_running_loop().sock_connect(sock, (self._cluster.manager_host.ip, DEFAULT_PORT))
            return await TlsLine.dial("", 0, context, sock)
        except BaseException:
            sock.close()
            raise


def _context(certificate: Path | None = None) -> ssl.SSLContext:
    context = unverified_context()
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


def _filter(**wanted: str) -> str:
    return json.dumps({name: [value] for name, value in wanted.items()})


def _socket_in(namespace: str) -> socket.socket:
    """Make a TCP socket in a network namespace (its path). A namespace is a thread's own: this one's is set back."""
    with _OWN_NETWORK.open() as own, Path(namespace).open() as there:
        _enter(there.fileno())
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            _enter(own.fileno())


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
