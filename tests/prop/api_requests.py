"""Requests to the API that are nearly right, and some that are nothing at all: for every route that the router has.

Paths, methods and what a body may be come from the routes themselves, so a new route is fuzzed by itself: with its own
shape when `SHAPES` has one for it, else with any other's.
"""

import random
from collections.abc import Iterable
from typing import Any

from common.model.client import Forbidden, Role
from manager.api.access.roles import Caller
from manager.api.app import RESOURCES
from manager.api.call import Call
from manager.api.router import Route
from tests.fakes.api_client import ADMIN
from tests.hostile.wrong_json import text_of, wrong

# A service's is asked for most: the most is behind it.
SERVICE = {
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
}
FILE = {"Name": "s", "Data": "aGVsbG8=", "Labels": {}}
NETWORK = {"Name": "on", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]}}
STACK = {
    "Networks": [{**NETWORK, "Labels": {"com.docker.stack.namespace": "x"}}],
    "Secrets": [{**FILE, "Labels": {"com.docker.stack.namespace": "x"}}],
    "Configs": [{**FILE, "Labels": {"com.docker.stack.namespace": "x"}}],
    "Services": [{"Spec": {**SERVICE, "Labels": {"com.docker.stack.namespace": "x"}}, "Version": 0}],
    "Prune": True,
}
NODE = {"Role": "worker", "Availability": "drain", "Labels": {"x": "y"}}
CLUSTER = {"Orchestration": {"TaskHistoryRetentionLimit": 1}, "CAConfig": {"NodeCertExpiry": 1}}
CONTAINER = {
    "Image": "busybox",
    "Cmd": ["sleep", "1"],
    "Env": ["A=b", "constraint:node.hostname==w1"],
    "Labels": {"swarm.x.constraint": "node.role==worker"},
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "NetworkMode": "default",
        "Memory": 50000000,
        "NanoCpus": 100000000,
        "Binds": ["v:/v"],
        "VolumesFrom": ["box"],
        "Mounts": [{"Type": "volume", "Source": "v", "Target": "/w"}],
        "CapAdd": ["CHOWN"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
    },
    "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["a"]}}},
}
SHAPES: dict[str, Any] = {
    "/services/create": SERVICE,
    "/services/{id}/update": SERVICE,
    "/stacks/{name}/deploy": STACK,
    "/secrets/create": FILE,
    "/secrets/{id}/update": FILE,
    "/configs/create": FILE,
    "/configs/{id}/update": FILE,
    "/networks/create": NETWORK,
    "/networks/{id}/connect": {"Container": "box", "EndpointConfig": {"Aliases": ["a"]}},
    "/networks/{id}/disconnect": {"Container": "box", "Force": True},
    "/nodes/{id}/update": NODE,
    "/swarm/init": {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "x", "ForceNewCluster": False, "Spec": CLUSTER},
    "/swarm/join": {"RemoteAddrs": ["x:2377"], "JoinToken": "SWMTKN-1-x-y"},
    "/swarm/update": CLUSTER,
    "/swarm/unlock": {"UnlockKey": "x"},
    "/swarm/client-certificates/create": {"Name": "alice", "Role": "viewer", "TTL": 3600},
    "/containers/create": CONTAINER,
    "/containers/{id}/update": {"Memory": 50000000, "RestartPolicy": {"Name": "always"}},
    "/containers/{id}/exec": {"Cmd": ["true"], "AttachStdout": True, "Env": ["A=b"]},
    "/exec/{id}/start": {"Detach": True, "Tty": False},
    "/volumes/create": {"Name": "w1/v", "Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": {"a": "b"}},
    "/auth": {"username": "u", "password": "p", "serveraddress": "127.0.0.1:5000"},
}
_QUERIES = [
    "version",
    "filters",
    "force",
    "rollback",
    "registryAuthFrom",
    "since",
    "until",
    "tail",
    "stdout",
    "stderr",
    "follow",
    "status",
    "scope",
    "name",
    "all",
    "limit",
    "size",
    "t",
    "signal",
    "h",
    "w",
    "path",
    "dryRun",
    "revision",
    "action",
    "fromImage",
    "fromSrc",
    "repo",
    "tag",
    "container",
    "q",
    "v",
    "condition",
    "stream",
    "stdin",
    "ps_args",
    "noprune",
    "names",
    "verbose",
    "link",
    "before",
    "insertDefaults",
    "details",
    "timestamps",
    "scale",
    "remote",
]
_VALUES = (
    "1",
    "web",
    "18446744073709551616",
    '{"name":["x"]}',
    '{"label":{"a":true}}',
    '{"until":["1h"]}',
    '{"ancestor":["busybox"],"node":["w1"]}',
    "[]",
    "{",
    "-1",
    "1e9",
    "pause",
    "2026-01-31T12:00:00Z",
    "99999-99-99T99:99:99Z",
    "9" * 11 + ".5",
    "9" * 5000,
    "²",
    "inf",
    "nan",
    "1e999",
    '{"until":["99999999999h"]}',
    '{"name":' + "[" * 5000,
    '{"dangling":["maybe"],"label":[""]}',
    "\x1b[2J",
)
_ODD: tuple[Any, ...] = (
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
WORDS += (
    ".",
    "w1/..",
    "../..",
    "a//b",
    "\x00",
    "a?b=c",
    "a#b",
    "%2e%2e",
    "w2/.",
    "sha256:" + "a" * 64,
    "v1",
    "\r\nX: y",
)
# What there is in the fuzzed cluster.
NAMED = ("box", "busybox", "w1", "w1/v", "a" * 64, "c" * 64, "w2/vol", "busybox:lab")
# An operator whose requests are looked into.
LIMITED = Caller("alice", "unix", Role.OPERATOR, uid=1, forbidden=tuple(Forbidden))
_ENGINES = frozenset(
    {"containers", "exec", "commit", "images", "build", "session", "grpc", "volumes", "auth", "system"}
)
_OFTEN = ("/services/create", "/services/{id}/update", "/networks/create")


def every_route() -> list[Route]:
    return [route for resource in RESOURCES for route in resource.ROUTES]


def asks_engines(route: Route) -> bool:
    """Whether a route's handler speaks to engines, which costs a hundred times what the store does."""
    return route.pattern.split("/")[1] in _ENGINES


class Mutator:
    """Makes calls; `engines` is the share of those whose routes ask engines. The same for the same seed."""

    def __init__(self, seed: int, engines: float) -> None:
        self._rng = random.Random(seed)
        self._share = engines
        routes = every_route()
        self._asking = [route for route in routes if asks_engines(route)]
        self._others = [route for route in routes if not asks_engines(route) and route.pattern != "/swarm/leave"]
        self._others += 3 * [route for route in routes if route.pattern in _OFTEN]

    def call(self) -> tuple[Route, Call]:
        """Make a request that is meant for a route."""
        rng = self._rng
        route = rng.choice(self._asking if rng.random() < self._share else self._others)
        method, path = route.method, self._path(route.pattern)
        if rng.random() < 0.03:
            method = rng.choice(("GET", "POST", "DELETE", "PUT", "X"))
        headers = {"content-type": "application/json" if rng.random() > 0.03 else rng.choice(("text/x", "", ";"))}
        if rng.random() < 0.1:
            headers["x-registry-auth"] = rng.choice(("e30=", "*", "W10", "eyJhIjoiYiJ9", "é", "=" * 9))
        if rng.random() < 0.1:
            headers |= {"connection": "Upgrade", "upgrade": rng.choice(("tcp", "websocket", "h2c", ""))}
        shape = SHAPES.get(route.pattern) or rng.choice((None, *SHAPES.values()))
        caller = LIMITED if rng.random() < 0.2 else ADMIN
        return route, Call(method, path, {}, self._query(), headers, self._body(shape), caller=caller)

    def _path(self, pattern: str) -> str:
        rng = self._rng
        if rng.random() < 0.02:
            return "".join(rng.choices("/vx.1{}%\x00\ud800", k=rng.randrange(40)))
        parts = pattern.split("/")
        path = "/".join(rng.choice(WORDS + NAMED) if part.startswith("{") else part for part in parts)
        if rng.random() < 0.2:
            path = f"/v{rng.choice(('1.24', '1.47', '1.47', '1.99', '9' * 9, '1.', '..'))}{path}"
        return path

    def _query(self) -> dict[str, str]:
        rng = self._rng
        values = (*WORDS, *NAMED, *_VALUES)
        query = {name: rng.choice(values) for name in rng.sample(_QUERIES, rng.choice((0, 0, 1, 3)))}
        return query if rng.random() < 0.3 else {**query, "version": str(rng.randrange(1, 9))}

    def _body(self, shape: Any) -> bytes:
        rng = self._rng
        if rng.random() < 0.05:
            return rng.randbytes(rng.randrange(60))
        if shape is None:
            return b""
        data = text_of(self._mutated(shape, rng.choice((0.0, 0.3, 1.0))))
        if rng.random() < 0.1:
            cut = rng.randrange(len(data) + 1)
            data = data[:cut] + rng.randbytes(rng.randrange(3)) + data[cut + rng.randrange(3) :]
        return data

    def _mutated(self, value: Any, chance: float) -> Any:
        rng = self._rng
        if rng.random() < 0.06 * chance:
            return wrong(rng) if rng.random() < 0.5 else rng.choice(_ODD)
        if isinstance(value, dict):
            return {self._key(key): self._mutated(inner, chance) for key, inner in value.items() if rng.random() > 0.03}
        if isinstance(value, list):
            return [self._mutated(inner, chance) for inner in value] * rng.choice((1, 1, 1, 0, 2))
        return value

    def _key(self, key: str) -> str:
        rng = self._rng
        return rng.choice((key.lower(), key.upper(), key + "x", "")) if rng.random() < 0.02 else key


def patterns(routes: Iterable[Route]) -> set[tuple[str, str]]:
    return {(route.method, route.pattern) for route in routes}
