"""Images: one of 200 MB on one of three hosts, until six replicas run, beside a registry on the same hosts.

Both sides are the same run, the same engines, the same image, made of files of this machine. Ours: a service is created
whose image is on one host alone. With a registry (Debian's docker-registry on the first host): the image is pushed
there, then a service with that name is created. Before each, no other host has any of it. Bytes are those that all
hosts received on their cables. Rounds alternate; the median of each side counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import statistics
import tarfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.deploy import call, engine
from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.lab.host import Host
from tests.lab.images import Image, docker_archive

MIB = 1024 * 1024
SIZE = 200
LAYERS = 4
REPLICAS = 6
ROUNDS = 3
REGISTRY_PORT = 5000
_REGISTRY = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: ":{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and bytes of one round: `push` before the service is created, `run` until all its tasks run."""

    push: float
    run: float
    received: int


def files_of_this_machine(size: int) -> Iterator[Path]:
    """Name programs and libraries of together about `size` bytes, in a random order that is the same every time."""
    found = sorted(
        p for f in ("/usr/lib", "/usr/bin") for p in Path(f).rglob("*") if p.is_file() and not p.is_symlink()
    )
    random.Random(1).shuffle(found)
    for path in found:
        if size <= 0:
            return
        if (length := path.stat().st_size) < 20 * MIB:
            size -= length
            yield path


def layers(size: int, *, compressible: bool) -> list[bytes]:
    """Make layers of together `size` bytes: real programs, or random bytes that no compression makes smaller."""
    if not compressible:
        return [_tar([(f"random-{n}", random.Random(n).randbytes(size // LAYERS))]) for n in range(LAYERS)]
    paths = list(files_of_this_machine(size))
    shares = [paths[n::LAYERS] for n in range(LAYERS)]
    return [_tar([(path.as_posix().lstrip("/"), path.read_bytes()) for path in share]) for share in shares]


def _tar(files: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Bench:
    """The cluster and the image, which is on the second host and nowhere else."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.owner = cluster.hosts[1]
        self.registry = f"{cluster.manager_host.ip}:{REGISTRY_PORT}"
        self._rounds = 0

    async def load(self, content: list[bytes]) -> None:
        archive = self.owner.folder / "ballast.tar"
        busybox = Path("/bin/busybox").read_bytes()
        image = Image(
            "ballast:1", (_tar([("bin/busybox", busybox)]), *content), {"Cmd": ["/bin/busybox", "sleep", "9999"]}
        )
        archive.write_bytes(docker_archive([image]))
        await self.owner.docker("load", "-q", "-i", str(archive))
        archive.unlink()
        await self.cluster.adopt(self.owner, "ballast:1")

    async def ours(self) -> Measured:
        return await self._round("ballast:1", push=None)

    async def with_registry(self) -> Measured:
        self._rounds += 1
        name = f"{self.registry}/ballast:{self._rounds}"
        await self.owner.docker("tag", "ballast:1", name)
        return await self._round(name, push=name)

    async def _round(self, image: str, push: str | None) -> Measured:
        before = await self._received()
        began = time.perf_counter()
        if push:
            await self.owner.run("docker", "push", "-q", push, timeout=300)
        pushed = time.perf_counter()
        manager = engine(Path(self.cluster.api.removeprefix("unix://")))
        async with manager:
            spec = {
                "Name": "bench",
                "TaskTemplate": {"ContainerSpec": {"Image": image}},
                "Mode": {"Replicated": {"Replicas": REPLICAS}},
            }
            await call(manager, "POST", "/services/create", spec)
            await self.cluster.running("bench", REPLICAS, timeout=300)
            ended = time.perf_counter()
            received = await self._received() - before
            await call(manager, "DELETE", "/services/bench")
        await self._clear(push)
        return Measured(pushed - began, ended - pushed, received)

    async def _received(self) -> int:
        counters = [await host.run("cat", "/sys/class/net/eth0/statistics/rx_bytes") for host in self.cluster.hosts]
        return sum(int(counter.stdout) for counter in counters)

    async def _clear(self, pushed: str | None) -> None:
        """Have the image on its owner alone again."""

        async def gone() -> bool:
            return not any([await host.docker("ps", "-aq") for host in self.cluster.hosts])

        await self.cluster.until(gone, 60)
        image = (await self.owner.docker("inspect", "--format", "{{.Id}}", "ballast:1")).strip()
        for host in self.cluster.hosts:
            if host is not self.owner:
                await host.run("docker", "rmi", "-f", image, check=False)
        if pushed:
            await self.owner.docker("rmi", pushed)
            # An engine remembers what it pushed where, and would only ask the next time.
            folder = self.cluster.manager_host.folder / "registry"
            await self.cluster.manager_host.run("sh", "-c", f"rm -rf {folder}/docker")


@contextlib.asynccontextmanager
async def registry(host: Host) -> AsyncIterator[None]:
    """Run Debian's docker-registry on a host."""
    folder = host.folder / "registry"
    folder.mkdir()
    settings = host.folder / "registry.yml"
    settings.write_text(_REGISTRY.format(folder=folder, port=REGISTRY_PORT))
    process = await host.spawn("docker-registry", "serve", settings, name="registry")
    try:
        yield
    finally:
        await process.stop()


async def measure(size: int, rounds: int, *, compressible: bool) -> dict[str, list[Measured]]:
    content = layers(size * MIB, compressible=compressible)
    results: dict[str, list[Measured]] = {"from worker to worker": [], "with a registry": []}
    options = ("--insecure-registry", "10.78.0.0/16")
    async with Cluster("bench-images", engine_options=options) as cluster, registry(cluster.manager_host):
        bench = Bench(cluster)
        await bench.load(content)
        for _ in range(rounds):
            results["from worker to worker"].append(await bench.ours())
            results["with a registry"].append(await bench.with_registry())
    return results


def row(name: str, measured: Sequence[Measured]) -> list[Any]:
    push = statistics.median(each.push for each in measured)
    run = statistics.median(each.run for each in measured)
    total = statistics.median(each.push + each.run for each in measured)
    received = statistics.median(each.received for each in measured)
    return [name, push, run, total, round(received / MIB)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run images --", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="of the image, in MiB")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--random", action="store_true", help="content that does not compress, in place of programs")
    options = parser.parse_args(argv)
    results = asyncio.run(measure(options.size, options.rounds, compressible=not options.random))
    kind = "random bytes" if options.random else "programs"
    print_table(
        f"An image of {options.size} MiB ({kind}) on one of three hosts, {REPLICAS} replicas, seconds",
        ["how", "push", "until all run", "together", "MiB received"],
        [row(name, measured) for name, measured in results.items()],
        [f"median of {options.rounds} rounds; {os.cpu_count()} cores for all hosts"],
    )
    return 0
