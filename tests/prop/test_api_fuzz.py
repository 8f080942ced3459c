"""A hundred thousand malformed requests: all are answered, none by an internal error, and memory stays flat."""

import asyncio
import json
import logging
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from manager.api.call import Answer, Call
from tests.fakes.api_client import ADMIN
from tests.fakes.api_cluster import ApiCluster

CALLS = 100_000
CHUNK = 1000
SECONDS = 20.0
GROWTH_KIB = 64 * 1024

# Method, path, and the number of the body in SEEDS that fits.
ROUTES = (
    ("GET", "/_ping", 0),
    ("GET", "/info", 0),
    ("GET", "/version", 0),
    ("GET", "/swarm", 0),
    ("POST", "/swarm/init", 4),
    ("POST", "/swarm/join", 4),
    ("POST", "/swarm/update", 4),
    ("POST", "/swarm/unlock", 4),
    ("GET", "/nodes", 0),
    ("GET", "/nodes/{}", 0),
    ("POST", "/nodes/{}/update", 3),
    ("GET", "/services", 0),
    ("POST", "/services/create", 0),
    ("POST", "/services/create", 0),
    ("POST", "/services/create", 0),
    ("GET", "/services/{}", 0),
    ("DELETE", "/services/{}", 0),
    ("POST", "/services/{}/update", 0),
    ("POST", "/services/{}/update", 0),
    ("GET", "/services/{}/logs", 0),
    ("GET", "/tasks", 0),
    ("GET", "/tasks/{}", 0),
    ("GET", "/secrets", 0),
    ("POST", "/secrets/create", 1),
    ("GET", "/secrets/{}", 0),
    ("POST", "/secrets/{}/update", 1),
    ("GET", "/configs", 0),
    ("POST", "/configs/create", 1),
    ("POST", "/configs/{}/update", 1),
    ("DELETE", "/configs/{}", 1),
    ("GET", "/networks", 0),
    ("POST", "/networks/create", 2),
    ("POST", "/networks/create", 2),
    ("POST", "/networks/prune", 0),
    ("GET", "/networks/{}", 0),
    ("DELETE", "/networks/{}", 0),
    ("GET", "/volumes", 0),
    ("POST", "/auth", 1),
    ("GET", "/distribution/{}/json", 0),
)
QUERIES = ("version", "filters", "force", "rollback", "registryAuthFrom", "since", "tail", "stdout", "status", "scope")
SEEDS: tuple[Any, ...] = (
    {
        "Name": "web",
        "Labels": {"a": "b"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "busybox",
                "Args": ["x"],
                "Env": ["A=b"],
                "Mounts": [{"Type": "volume", "Source": "v", "Target": "/v"}],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
                "Secrets": [{"File": {"Name": "s", "Mode": 292}, "SecretID": "s", "SecretName": "s"}],
            },
            "Resources": {"Limits": {"NanoCPUs": 100000000}, "Reservations": {"MemoryBytes": 50000000}},
            "RestartPolicy": {"Condition": "any", "Delay": 5},
            "Placement": {"Constraints": ["node.role==worker"], "MaxReplicas": 1},
            "Networks": [{"Target": "ingress", "Aliases": ["a"]}],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "MaxFailureRatio": 0.1},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"TargetPort": 80, "PublishedPort": 80}]},
    },
    {"Name": "s", "Data": "aGVsbG8=", "Labels": {}},
    {"Name": "on", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]}},
    {"Role": "worker", "Availability": "drain", "Labels": {"x": "y"}},
    {"Orchestration": {"TaskHistoryRetentionLimit": 1}, "CAConfig": {"NodeCertExpiry": 1}},
)
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    -(2**70),
    1e308,
    0.5,
    "",
    "x",
    "a" * 300,
    "\x00",
    "\u202e",
    "\ud800",
    "../..",
    "{{.Nope}}",
    [],
    [None],
    {},
    {"": {}},
    [[[]]],
)
WORDS = ("web", "x", "", "%00", "..", "a/b", "é", "\ud800", "w" * 25, "0", "-", "x" * 5000, "{}", "ingress", "*")


class Mutator:
    """Makes requests that are nearly right, and some that are nothing at all."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def call(self) -> Call:
        rng = self._rng
        method, path, seed = rng.choice(ROUTES)
        path = path.replace("{}", rng.choice(WORDS))
        if rng.random() < 0.2:
            path = f"/v{rng.choice(('1.24', '1.47', '1.47', '1.99', '9' * 9, '1.', '..'))}{path}"
        if rng.random() < 0.02:
            path = "".join(rng.choices("/vx.1{}%\x00\ud800", k=rng.randrange(40)))
        if rng.random() < 0.03:
            method = rng.choice(("GET", "POST", "DELETE", "PUT", "X"))
        headers = {"content-type": "application/json" if rng.random() > 0.03 else rng.choice(("text/x", "", ";"))}
        if rng.random() < 0.1:
            headers["x-registry-auth"] = rng.choice(("e30=", "*", "W10", "eyJhIjoiYiJ9", "é", "=" * 9))
        return Call(method, path, {}, self._query(), headers, self._body(SEEDS[seed]), caller=ADMIN)

    def _query(self) -> dict[str, str]:
        rng = self._rng
        values = (
            *WORDS,
            "1",
            "18446744073709551616",
            '{"name":["x"]}',
            '{"label":{"a":true}}',
            '{"until":["1h"]}',
            "[]",
            "{",
        )
        query = {name: rng.choice(values) for name in rng.sample(QUERIES, rng.choice((0, 0, 1, 3)))}
        return query if rng.random() < 0.3 else {**query, "version": str(rng.randrange(1, 9))}

    def _body(self, seed: Any) -> bytes:
        rng = self._rng
        if rng.random() < 0.05:
            return rng.randbytes(rng.randrange(60))
        value = self._mutated(seed if rng.random() < 0.95 else rng.choice(SEEDS), rng.choice((0.0, 0.3, 1.0)))
        data = json.dumps(value).encode()
        if rng.random() < 0.1:
            cut = rng.randrange(len(data) + 1)
            data = data[:cut] + rng.randbytes(rng.randrange(3)) + data[cut + rng.randrange(3) :]
        return data

    def _mutated(self, value: Any, chance: float) -> Any:
        rng = self._rng
        if rng.random() < 0.06 * chance:
            return rng.choice(ODD)
        if isinstance(value, dict):
            return {self._key(key): self._mutated(inner, chance) for key, inner in value.items() if rng.random() > 0.03}
        if isinstance(value, list):
            return [self._mutated(inner, chance) for inner in value] * rng.choice((1, 1, 1, 0, 2))
        return value

    def _key(self, key: str) -> str:
        rng = self._rng
        return rng.choice((key.lower(), key.upper(), key + "x", "")) if rng.random() < 0.02 else key


def chunks(mutator: Mutator) -> Iterator[list[Call]]:
    for _ in range(CALLS // CHUNK):
        yield [mutator.call() for _ in range(CHUNK)]


def resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def one(cluster: ApiCluster, call: Call, bugs: list[tuple[Call, Any]]) -> int:
    reply = await cluster.api.answer(call)
    msgspec.json.encode(reply.value if isinstance(reply, Answer) else None)
    if isinstance(reply, Answer) and reply.status == 500 and "incident" in str(reply.value):
        bugs.append((call, reply.value))
    return reply.status


@pytest.fixture
async def cluster() -> AsyncIterator[ApiCluster]:
    async with ApiCluster(idle=True) as cluster:
        yield cluster


@pytest.mark.timeout(180)
async def test_malformed_requests(cluster: ApiCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    statuses: Counter[int] = Counter()
    bugs: list[tuple[Call, Any]] = []
    spent = 0.0
    after_warm_up = 0
    for number, calls in enumerate(chunks(Mutator(1))):
        began = time.thread_time()
        statuses.update(await asyncio.gather(*(one(cluster, call, bugs) for call in calls)))
        await clean(cluster)
        spent += time.thread_time() - began
        if number == 20:
            after_warm_up = resident_kib()
    assert not bugs, bugs[:3]
    assert sum(statuses.values()) == CALLS
    # Many are right, so that what is behind the checks is reached as well.
    assert statuses[200] > 10_000
    assert statuses[201] > 1000
    assert statuses[400] > 10_000
    assert spent < SECONDS
    assert resident_kib() - after_warm_up < GROWTH_KIB


async def clean(cluster: ApiCluster) -> None:
    """Take away what was made, so that memory tells of leaks alone."""

    def remove(tx: Any) -> None:
        keep: Callable[[Any], bool] = lambda value: value.name == "ingress"  # noqa: E731
        for table in (tx.services, tx.secrets, tx.configs, tx.networks):
            for value in [value for value in table if not keep(value)]:
                tx.remove(value)

    await cluster.store.update(remove)
    cluster.audited.clear()
